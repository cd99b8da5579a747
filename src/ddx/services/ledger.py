"""Keep the ledger up with the journals, beside the delivery and never in a request's way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from threading import Event as Signal

from ddx.core.chain import Kind
from ddx.core.record import PredictionId
from ddx.core.usage import FeedbackRow, UsageRow, feedback_row, usage_row
from ddx.errors import DdxError, Erased, JournalDamaged
from ddx.ports import JournalReader, Ledger

log = logging.getLogger("ddx")
BATCH = 2_000
"""Events that are read at a time; each prediction has two."""
EVERY_S = 2.0
"""How often it looks: a dashboard is that much behind."""


class Bookkeeper:
    """Brings finished predictions and feedback into a ledger. Belongs to one thread."""

    def __init__(self, journals: Callable[[], Sequence[JournalReader]], ledger: Ledger) -> None:
        self._journals = journals
        self._ledger = ledger

    def run(self, stop: Signal) -> None:
        """Go on until `stop` is set. What goes wrong is logged, and tried again."""
        while not stop.is_set():
            try:
                self.once()
                self._ledger.tend()
            except DdxError as error:
                extra = {"event": "ledger_waits", "error_code": error.code}
                log.warning("the ledger waits", extra=extra)
            stop.wait(EVERY_S)

    def once(self, progress: Callable[[int], None] = lambda rows: None) -> int:  # noqa: ARG005
        """Bring in all that is there; return how many predictions.

        `progress` is told of each batch. Raises LedgerUnavailable, JournalUnavailable.
        """
        total = 0
        for journal in self._journals():
            while (added := self._next(journal)) is not None:
                total += added
                progress(added)
        return total

    def _next(self, journal: JournalReader) -> int | None:
        """Bring in the next events of a journal; return how many rows, None where none are."""
        cursor = self._ledger.cursor(journal.journal_id)
        events = journal.events(cursor, BATCH)
        if not events:
            return None
        finished = [one.prediction_id for one in events if one.kind is Kind.FINISHED]
        rows = _rows(journal, finished)
        spoken_of = {one.prediction_id: one.seq for one in events if one.kind is Kind.FEEDBACK}
        said = [row for id, seq in spoken_of.items() for row in _said(journal, id, seq)]
        self._ledger.add(journal.journal_id, events[-1].seq, rows, said)
        return len(rows)


def _rows(journal: JournalReader, ids: Sequence[PredictionId]) -> list[UsageRow]:
    """Return their rows; the erased, and those that cannot be read, are left out."""
    try:
        found = journal.predictions(ids)
    except JournalDamaged:
        if len(ids) == 1:
            return []
        middle = len(ids) // 2
        return [*_rows(journal, ids[:middle]), *_rows(journal, ids[middle:])]
    return [usage_row(one) for one in found if one.completion is not None]


def _said(journal: JournalReader, id: PredictionId, seq: int) -> list[FeedbackRow]:
    """Return the row of what was said of a prediction up to now, or nothing where it is erased."""
    try:
        found, said = journal.predictions([id]), journal.feedback_of(id)
    except (Erased, JournalDamaged):
        return []
    return [feedback_row(found[0], seq, said)] if found and said else []
