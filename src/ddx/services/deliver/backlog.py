"""What waits for delivery, as any process can see it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ddx.core.chain import Kind
from ddx.core.delivery import UNFINISHED, Delivery, Place, State
from ddx.core.record import PredictionId
from ddx.ports import JournalReader

DELIVERED = frozenset({Kind.FINISHED, Kind.FEEDBACK})
"""Kinds of events that MLflow is to show."""
_PAGE = 1000
_ALL = 1_000_000
"""Notes are few: a delivery has one while it is under way, in doubt or refused."""


class Notes(Protocol):
    """What is read of a delivery's state."""

    def place(self, journal_id: str) -> Place | None:
        """Return how far a journal is delivered, None where it was never seen."""

    def deliveries(self, states: Collection[State], limit: int) -> Sequence[Delivery]:
        """Return up to `limit` deliveries in one of these states."""


@dataclass(frozen=True, slots=True)
class Undelivered:
    """The part of a journal above its cursor."""

    records: int = 0
    """About: an accepted and a finished event are one record."""
    bytes: int = 0
    """About."""
    oldest: PredictionId | None = None
    """Finished and not delivered; its age is in its id (core.ids)."""


def undelivered(journal: JournalReader, cursor: int) -> Undelivered:
    """Return what waits above a cursor. Costs the same at 100,000 records as at ten.

    A record that is under way, in doubt or refused is below the cursor: DeliveryStatus counts
    those.
    """
    events, size = journal.backlog(cursor)
    oldest = _first_finished(journal, cursor)
    if oldest is None:
        return Undelivered()
    return Undelivered(records=max(1, events // 2), bytes=size, oldest=oldest)


def waiting(journals: Iterable[JournalReader], state: Notes) -> Iterator[PredictionId]:
    """Yield what is not in MLflow yet: what is under way, then each journal's next, in order."""
    for delivery in state.deliveries(UNFINISHED, _ALL):
        yield delivery.prediction_id
    for journal in journals:
        place = state.place(journal.journal_id)
        cursor = place.cursor if place else 0
        while events := journal.events(cursor, _PAGE):
            cursor = events[-1].seq
            yield from (e.prediction_id for e in events if e.kind in DELIVERED)


def _first_finished(journal: JournalReader, cursor: int) -> PredictionId | None:
    # Events that finish nothing end soon: there are no more of them than running requests.
    limit = 8
    while window := journal.events(cursor, limit):
        for event in window:
            if event.kind is Kind.FINISHED:
                return event.prediction_id
        cursor, limit = window[-1].seq, 2 * limit
    return None
