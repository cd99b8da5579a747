"""What the services rely on. Each port is a promise, and `tests/contracts/` checks its words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from ddx.core.assessing import Assessment
from ddx.core.batch import Batch, BatchId, CaseDone
from ddx.core.callers import ApiKey, Caller
from ddx.core.chain import ChainedEvent, Checkpoint, Kind
from ddx.core.delivery import Delivery, DeliveryStatus, Place, State
from ddx.core.evaluation import Asked
from ddx.core.feedback import Feedback
from ddx.core.record import (
    Code,
    Completion,
    Diagnosis,
    EngineAnswer,
    Prediction,
    PredictionId,
    Request,
)
from ddx.core.report import Choices, Failure, Figures, Question
from ddx.core.run_draft import RunDraft
from ddx.core.tracing import Trace
from ddx.core.usage import FeedbackRow, UsageRow
from ddx.errors import DeliveryRefused


class Clock(Protocol):
    """Time, which the core is told."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back, for durations."""


# --- who asks ---------------------------------------------------------------------------


class KeyShelf(Protocol):
    """Where the API keys are kept."""

    def stamp(self) -> object:
        """Return what changes when the keys do. Cheap."""

    def read(self) -> Sequence[ApiKey]:
        """Return the keys. Raises KeysUnavailable."""


class Issuer(Protocol):
    """Who vouches for callers by tokens that it signs."""

    def caller(self, token: str) -> Caller | None:
        """Return who sent a token; None where it is not of its kind. Asks nobody.

        Raises BadToken where it is, and is not good, ClaimMissing where it is good and does not
        say enough, IssuerUnavailable where that cannot be told without the issuer.
        """

    def lacks(self, token: str) -> bool:
        """Say whether the keys should be fetched before this token is judged.

        Never so often that a flood of tokens becomes a flood of questions.
        """

    @property
    def stale(self) -> bool:
        """Whether the keys should be fetched anew, while tokens are judged by these."""

    def fetch(self) -> None:
        """Fetch the keys. Blocks, and not for long. One call at a time.

        Raises IssuerUnavailable; then those that there were stay good for a while.
        """


class Counts(Protocol):
    """What callers use of their limits, in all processes of a server together."""

    def enter(self, caller: str, most: int) -> bool:
        """Count one more request of a caller under way; False where there are as many as may be."""

    def leave(self, caller: str) -> None:
        """Count one less."""

    def wait_s(self, caller: str, rate_per_minute: float, now_s: float) -> float:
        """Take one request of a caller's rate; return 0, or after how long there is one."""


# --- the journal ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A tracker and the body that it stands for."""

    scope: str
    """The caller: two callers may use the same tracker."""
    tracker: str
    body: bytes
    """Canonical bytes of the request without its tracker; kept only as a keyed hash."""
    replaces: PredictionId | None = None
    """The failed or interrupted prediction that this one tries again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process that takes claims."""

    node: str
    """Its data folder: only who has the same one can read its journal."""
    instance: str
    """Its journal."""
    life: str
    """Of this process alone: who starts after it has another one."""


class Standing(StrEnum):
    """How the prediction of a claim stands, as far as the claims know."""

    UNKNOWN = "unknown"
    """Its journal knows."""
    RUNNING = "running"
    ANSWERED = "answered"
    ENDED = "ended"
    """Failed or interrupted: to be tried again."""
    ERASED = "erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The tracker is taken."""

    by: PredictionId
    same_body: bool
    holder: Holder | None = None
    """Who took it; None where that is the journal that was asked, or one of before."""
    retry_of: PredictionId | None = None
    """What `by` tries again."""
    standing: Standing = Standing.UNKNOWN
    reply: Completion | None = None
    """Where it is `answered`: enough to answer again, for who cannot read its journal."""
    heard: bool = True
    """Whether the holder gave a sign of life lately; asked where it is on another node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The record is on stable storage."""

    seq: int


class Journal(Protocol):
    """Where a record is safe before anything is done with it. One writer each.

    Writes return a future that is done once the event would survive a power cut, or holds
    JournalUnavailable (JournalFull where there is no room); then nothing has changed.
    """

    instance: str

    @property
    def fault(self) -> str | None:
        """Code of the last write's error; None once a write went well again."""

    @property
    def synced_at(self) -> float | None:
        """When the last write reached stable storage, in seconds since 1970; None before it."""

    def accept(self, prediction: Prediction, claim: Claim | None) -> Future[Kept | Held]:
        """Keep a prediction: an `accepted` event, and a `finished` one if it is complete.

        With a claim whose tracker is held by another prediction than `claim.replaces`,
        nothing is kept, and the answer is who holds it. Claims are as durable as records.
        """

    def finish(self, prediction: Prediction) -> Future[Kept]:
        """Keep the completion. Holds AlreadyFinished where there is one."""

    def add_feedback(self, id: PredictionId, feedback: Feedback) -> Future[Kept]:
        """Keep what somebody said of a finished prediction, after what was said before.

        Holds PredictionNotFound where none of this id is finished, Erased where it is erased.
        """

    def add_erasure(self, id: PredictionId) -> Future[Kept]:
        """Keep that a prediction, of any journal, is erased: an `erased` event without a word."""

    def feedback_of(self, id: PredictionId) -> Sequence[Feedback]:
        """Return what was said of a prediction, in order. Raises Erased."""

    def probe(self) -> Future[None]:
        """Write and sync something that is no event, to see whether it works again."""

    def find(self, id: PredictionId) -> Prediction | None:
        """Return the record as it stands. Raises Erased where its key is destroyed."""

    def newest(
        self, before: PredictionId | None, since: PredictionId | None, limit: int
    ) -> Sequence[PredictionId]:
        """Return up to `limit` ids, the greatest first: the newest, for ids grow with time.

        Below `before` and not below `since`, where they are given; neither need exist.
        """

    def holder(self, claim: Claim) -> Held | None:
        """Return who holds the tracker now."""

    def unfinished(self) -> Sequence[PredictionId]:
        """Return what was accepted and has no outcome, in order of acceptance."""

    def close(self) -> None:
        """Write what is waiting, then let go of the files."""


class Claims(Protocol):
    """Who holds a tracker, the same for all processes of a deployment.

    A claim is taken before its prediction is accepted, and is as durable. Futures hold
    ClaimsUnavailable where nothing can be decided now; then nothing has changed.
    """

    holder: Holder
    """As whom this process takes them."""

    def take(self, claim: Claim, prediction: Prediction) -> Future[Held | None]:
        """Take a tracker for a prediction; None once the claim would survive a power cut.

        Where another prediction than `claim.replaces` holds it, nothing changes, and the answer
        is who.
        """

    def look(self, claim: Claim) -> Future[Held | None]:
        """Return who holds a tracker now, and take nothing."""

    def release(self, id: PredictionId) -> None:
        """Give up the claim of a prediction that no journal took, now or as soon as it can be."""

    def finish(self, prediction: Prediction) -> Future[None]:
        """Keep how a prediction ended, for those who cannot read its journal.

        What cannot be kept now is kept as soon as it can be.
        """

    def settle(
        self,
        alive: Callable[[Holder], bool],
        find: Callable[[PredictionId], Prediction | None],
    ) -> int:
        """Say of the claims that dead processes of this node left how they stand; how many.

        To be called when their journals are closed. Blocks. Raises ClaimsUnavailable.
        """

    def forget(self, id: PredictionId) -> None:
        """Destroy what is kept of an erased prediction's answer. Blocks.

        Raises ClaimsUnavailable.
        """

    def close(self) -> None:
        """Write what is waiting, then let go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event as a reader sees it."""

    seq: int
    kind: Kind
    prediction_id: PredictionId


class JournalReader(Protocol):
    """A journal seen from another process: reading never disturbs its writer."""

    instance: str
    journal_id: str

    def events(self, after: int, limit: int) -> Sequence[Event]:
        """Return up to `limit` events with a sequence above `after`, in order."""

    def predictions(self, ids: Sequence[PredictionId]) -> Sequence[Prediction]:
        """Return these records as they stand, in this order; the erased are left out."""

    def find(self, id: PredictionId) -> Prediction | None:
        """Return the record as it stands. Raises Erased where its key is destroyed."""

    def newest(
        self, before: PredictionId | None, since: PredictionId | None, limit: int
    ) -> Sequence[PredictionId]:
        """Return up to `limit` ids, the newest first; see Journal."""

    def feedback_of(self, id: PredictionId) -> Sequence[Feedback]:
        """Return what was said of a prediction, in order. Raises Erased."""

    def chained(self, after: int, limit: int) -> Sequence[ChainedEvent]:
        """Return up to `limit` events with their links, in order, as they stand in the file."""

    def last_seq(self) -> int:
        """Return the sequence of the newest event, 0 where there is none."""

    def backlog(self, after: int) -> tuple[int, int]:
        """Return (events, payload bytes) above a sequence. Bytes may be estimated: the answer
        costs the same for any backlog.
        """

    def close(self) -> None:
        """Let go of the files."""


class DataKey(Protocol):
    """A key that wraps others; it is itself kept wrapped under the master key."""

    @property
    def id(self) -> str:
        """16 hex digits, random."""

    def wrap(self, secret: bytes) -> bytes:
        """Return it wrapped, 8 bytes longer (rounded up to 8)."""

    def unwrap(self, wrapped: bytes) -> bytes:
        """Return what was wrapped. Raises JournalDamaged where a bit of it changed."""


class Vault(Protocol):
    """What wraps a data folder's keys before they are kept, where it has a master key.

    Any of its methods raises MasterKeyUnavailable where the key is needed and not at hand, and
    WrongMasterKey where it is another one.
    """

    def current(self) -> DataKey | None:
        """Return what new keys are wrapped under; None where they are kept plain."""

    def key(self, id: str) -> DataKey:
        """Return the data key of an id. Raises JournalDamaged where it is not kept."""

    def seal(self, name: str, secret: bytes) -> bytes:
        """Return a secret as the file `name` is to hold it: wrapped, or as it is."""

    def open(self, name: str, stored: bytes) -> bytes:
        """Return the secret in what a file holds. Raises JournalDamaged."""

    def steady(self) -> AbstractContextManager[None]:
        """Keep the folder's files in their form: nothing is wrapped or unwrapped meanwhile."""


class Signer(Protocol):
    """Signs checkpoints, so that they can be checked with the public key alone."""

    def sign(self, checkpoint: Checkpoint) -> str:
        """Return the signed checkpoint as one JSON document."""

    def read(self, document: str) -> Checkpoint:
        """Return the checkpoint in a document. Raises BadCheckpoint where the signature fails."""


# --- batches ----------------------------------------------------------------------------


class BatchStore(Protocol):
    """Where the cases of batches wait for their turn. The journal has them from then on.

    Writes raise JournalUnavailable, JournalFull where there is no room.
    """

    def take(
        self, caller: str, key: str | None, cases: Sequence[Request], now: datetime
    ) -> tuple[Batch, bool]:
        """Return a new batch, and True, once it would survive a power cut.

        With a key that this caller used before, that batch, and False; TrackerReused where its
        cases were others.
        """

    def find(self, id: BatchId) -> Batch | None:
        """Return a batch as it stands."""

    def open_ids(self) -> Sequence[BatchId]:
        """Return the batches that are not closed, oldest first."""

    def cases(self, id: BatchId) -> Sequence[Request]:
        """Return the cases of a batch that is not closed. Raises JournalDamaged."""

    def note(self, id: BatchId, done: CaseDone) -> None:
        """Keep how a case ended. A power cut may undo it until the batch is closed: the journal
        knows the outcome, and the case's tracker leads to it.
        """

    def close(self, id: BatchId) -> None:
        """Destroy the cases of a batch that is complete. Repeating it changes nothing."""


# --- engines ----------------------------------------------------------------------------


class Engine(Protocol):
    """Turns a case into an outcome."""

    async def ask(self, request: Request, deadline_s: float) -> EngineAnswer:
        """Answer within `deadline_s`. Total: a model's error is a Failed outcome.

        The answer holds the prompt, the raw output and each call, also when it failed.
        """


class AdvisedEngine(Engine, Protocol):
    """An Engine that can be shown what another one thinks."""

    async def ask(
        self, request: Request, deadline_s: float, *, candidates: str = ""
    ) -> EngineAnswer:
        """Answer as an Engine, with candidates to weigh; they may be wrong."""


OnDiagnosis = Callable[[int, Diagnosis], None]
"""Is given a rank, from 1, and the diagnosis that is complete at it. Called in the event loop."""


@runtime_checkable
class StreamingEngine(Engine, Protocol):
    """An Engine that can tell each diagnosis as soon as it is complete."""

    async def ask_streaming(
        self, request: Request, deadline_s: float, told: OnDiagnosis
    ) -> EngineAnswer:
        """Answer as `ask` does; `told` gets each diagnosis that is complete before the answer.

        What is told is provisional: a further attempt may tell another one at the same rank,
        and only the answer counts. Nothing is told after the answer.
        """


class Terminology(Protocol):
    """Grounds what an LLM says."""

    def codes(self, name: str) -> tuple[Code, ...]:
        """Return the codes of one disease, or none where the name is not surely one."""


class Asker(Protocol):
    """Answers the cases of an evaluation: an engine in this process, or a running server."""

    async def ask(self, request: Request) -> Asked:
        """Return the answer; a model's error is a Failed outcome.

        Raises ServerUnreachable where no answer can come at all, and what says that the
        request cannot be meant: UnknownModel, UnknownPrompt, ModelNotConfigured.
        """


class Workers(Protocol):
    """Processes, here or on other machines, that do pieces of work: bytes in, bytes out."""

    @property
    def slots(self) -> int:
        """How many pieces are worked on at once, as far as is known; at least 1."""

    def submit(self, piece: bytes) -> Future[bytes]:
        """Give a piece to the next free process; the future has what it made of it.

        A piece whose process or machine died is given to another, so it may be done twice. The
        future raises ClusterUnavailable where that was tried in vain.
        """


# --- MLflow -----------------------------------------------------------------------------


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


# --- the outside of the machine ---------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a look found. A check never changes anything."""

    name: str
    ok: bool
    found: str
    advice: str = ""
    detail: Mapping[str, str | int | float] = field(default_factory=dict)
    warns: bool = False
    """Nothing is broken, but there is less than there could be: the advice is worth reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a tracking server did not do as it was asked."""

    kind: str
    """unreachable, untrusted, unauthenticated, forbidden, missing (it has no such thing), invalid,
    absent (it knows no such request), limited, or failed."""
    status: int | None = None
    code: str = ""
    """MLflow's, where it says one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What a tracking server that is not ours can do. None: it could not be asked."""

    service: str
    """Databricks, Amazon SageMaker, Azure ML or MLflow."""
    experiment: str
    """Name of the experiment that runs go to."""
    refused: Refusal | None = None
    """Why nothing more could be asked."""
    version: str | None = None
    experiment_id: str | None = None
    """None where it is not there yet."""
    experiment_refused: Refusal | None = None
    """Why it could not be made."""
    artifact_location: str | None = None
    finds_tags: Refusal | bool | None = None
    """True, or why it does not find runs by a tag."""
    finds_patterns: bool | None = None
    """Whether many tags are found by one search."""
    traces: bool | None = None
    assessments: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a trial on a tracking server."""

    did: str
    refused: Refusal | None = None
    """None where it went well."""
