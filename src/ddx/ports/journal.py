"""The journal: what is kept, and how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from ddx.core.chain import ChainedEvent, Kind
from ddx.core.feedback import Feedback
from ddx.core.record import (
    Prediction,
    PredictionId,
)
from ddx.ports.claims import Claim, Held


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
