"""MLflow: runs, traces, the ledger beside them, and how far delivery is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ddx.core.assessing import Assessment
from ddx.core.delivery import Delivery, DeliveryStatus, Place, State
from ddx.core.record import (
    PredictionId,
)
from ddx.core.report import Choices, Failure, Figures, Question
from ddx.core.run_draft import RunDraft
from ddx.core.tracing import Trace
from ddx.core.usage import FeedbackRow, UsageRow
from ddx.errors import DeliveryRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A run that a look for its tag found."""

    run_id: str
    whole: bool
    """Its status says that it ended: the status is written last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRun:
    """A run as MLflow holds it, for comparison with its draft."""

    run_id: str
    draft: RunDraft


class Runs(Protocol):
    """A door into MLflow. Raises TrackerUnavailable where it cannot be reached now, and
    DeliveryRefused where this run would be refused again.
    """

    door: str
    """Its name: delivery looks for runs before it trusts another door's state."""
    chooses_ids: bool
    """True where the run id is ours, a pure function of the prediction id, so that `deliver`
    can be repeated blindly. False where MLflow chooses it: then `open` is never repeated
    without `look_for`."""
    batch: int
    """How many runs are best handed over at once."""

    def deliver(
        self, drafts: Sequence[RunDraft], known: Mapping[PredictionId, str]
    ) -> Mapping[PredictionId, DeliveryRefused | None]:
        """Make each run whole in MLflow, all or nothing for each; None means it is there.

        `known` names runs that exist, perhaps half made by another door: they are filled.
        Only where `chooses_ids`. Repeating it changes nothing.
        """

    def open(self, draft: RunDraft) -> str:
        """Create the run and return its id. Not repeatable.

        Only where not `chooses_ids`. Raises AnswerLost where the run may exist now or later.
        """

    def fill(self, run_id: str, draft: RunDraft) -> None:
        """Give an existing run everything in its draft, its status last. Repeatable."""

    def look_for(self, ids: Iterable[PredictionId]) -> Mapping[PredictionId, tuple[Seen, ...]]:
        """Return the active runs tagged with each id, the one to keep first.

        MLflow does not note when a run was created: what is whole counts as older, then the
        lesser run id, so that every look names the same one. Ids without a run are left out.
        """

    def all_ids(self) -> Iterator[PredictionId]:
        """Yield the prediction id of every active run of the experiment that has one."""

    def discard(self, run_id: str) -> None:
        """Soft-delete a late twin."""

    def read(self, ids: Sequence[PredictionId]) -> Iterator[FoundRun]:
        """Read the active runs of these predictions back, with their artifacts.

        A file that is not UTF-8 is read with surrogateescape, so that it equals no draft.
        """

    def close(self) -> None:
        """Let go of connections."""


class RunEraser(Protocol):
    """Takes what leads to a patient out of the runs of a prediction."""

    @property
    def remains(self) -> Sequence[str]:
        """What it leaves there, in sentences: all of them once it has erased."""

    def erase(self, id: PredictionId, at: datetime) -> Mapping[str, int]:
        """Erase it, and return what there was: `runs`, `files`, `traces`. Repeatable.

        Raises TrackerUnavailable, DeliveryRefused.
        """


class Traces(Protocol):
    """Where traces are shown."""

    name: str
    """Of its place in the journals, which is kept for each apart."""
    linked: bool
    """Whether a trace is sent only when its run is there, and is linked to it."""

    def send(self, traces: Sequence[Trace], run_ids: Mapping[PredictionId, str]) -> None:
        """Send these traces; return once they are taken. Repeating it changes nothing.

        Raises TracesUnavailable or TrackerUnavailable where it may go well later, and
        DeliveryRefused where these traces would be refused again.
        """

    def assess(self, trace_id: str, said: Sequence[Assessment]) -> None:
        """Add what people said of a trace that was sent; what is there already is left alone.

        Nothing where the place knows no assessments. Raises as `send` does.
        """


class TracePlaces(Protocol):
    """How far each journal is traced. One writer. A place that is lost means sending again."""

    def cursor(self, sink: str, journal_id: str) -> int:
        """Return the sequence up to which traces were sent, 0 where none was."""

    def move(self, sink: str, journal_id: str, cursor: int) -> None:
        """Keep it."""


class Ledger(Protocol):
    """Rows about predictions, for figures. One writer. Made again from the journals at any time."""

    def cursor(self, journal_id: str) -> int:
        """Return the sequence up to which a journal is in it, 0 where nothing is."""

    def add(
        self,
        journal_id: str,
        cursor: int,
        rows: Sequence[UsageRow],
        feedback: Sequence[FeedbackRow],
    ) -> None:
        """Add rows and move the cursor, both or neither. Raises LedgerUnavailable."""

    def tend(self) -> None:
        """Put small files together, where that is due. Raises LedgerUnavailable."""

    def forget(self) -> None:
        """Empty it, cursors too. Raises LedgerUnavailable."""


class Books(Protocol):
    """Figures over the ledger as it is now. Each call raises LedgerUnavailable."""

    def change(self) -> int:
        """Return a number that grows when rows come."""

    def figures(self, question: Question, *, counts: bool = False) -> Sequence[Figures]:
        """Return figures for each group, in the order of its key; one for all without `by`.

        With `counts` they say how many and how they ended, no more, and come sooner.
        """

    def failures(self, question: Question, limit: int) -> Sequence[Failure]:
        """Return the newest predictions without an answer."""

    def choices(self, tenant: str | None = None) -> Choices:
        """Return what there is to choose from, of one tenant or of all."""


class DeliveryState(Protocol):
    """How far each journal is delivered. Writes are durable when they return.

    It can be lost: then runs are looked for by their tags before any is created.
    """

    def place(self, journal_id: str) -> Place | None:
        """Return how far a journal is delivered, None where it was never seen."""

    def set_place(self, place: Place) -> None:
        """Keep where a journal stands."""

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Keep these as they stand now, all or none."""

    def take(self, delivery: Delivery) -> None:
        """Keep it, and move its journal's cursor up to it, in one step."""

    def acknowledge(self, journal_id: str, cursor: int, ids: Sequence[PredictionId] = ()) -> None:
        """Move the cursor to `cursor`, never back, and drop these deliveries."""

    def deliveries(self, states: Collection[State], limit: int) -> Sequence[Delivery]:
        """Return up to `limit` deliveries in these states, in order of journal and sequence."""

    def alive(self, error_code: str | None) -> None:
        """Note progress, or the code of a failure, for other processes. Need not be durable."""

    def status(self) -> DeliveryStatus:
        """Return what other processes may know."""

    def forget(self) -> None:
        """Forget all deliveries and places."""

    def close(self) -> None:
        """Let go of the files and of the lease."""
