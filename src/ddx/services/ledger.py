"""Keep the ledger up with the journals, beside the delivery and never in a request's way."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from threading import Event as Signal

from ddx.core import codec
from ddx.core.chain import Kind
from ddx.core.pieces import answers, piece
from ddx.core.record import PredictionId
from ddx.core.usage import FeedbackRow, UsageRow, feedback_row, usage_row
from ddx.errors import DdxError, Erased, JournalDamaged
from ddx.ports import JournalReader, Ledger, Workers

log = logging.getLogger("ddx")
BATCH = 2_000
"""Events that are read at a time; each prediction has two."""
EVERY_S = 2.0
"""How often it looks: a dashboard is that much behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What some events of a journal add to the ledger. No patient text."""

    cursor: int
    """Sequence of the last of them."""
    rows: tuple[UsageRow, ...] = ()
    feedback: tuple[FeedbackRow, ...] = ()


def page(journal: JournalReader, after: int) -> Page:
    """Return what up to BATCH events above a sequence add; its cursor is `after` where none are."""
    events = [one for one in journal.events(after, BATCH) if one.seq <= after + BATCH]
    finished = [one.prediction_id for one in events if one.kind is Kind.FINISHED]
    spoken_of = {one.prediction_id: one.seq for one in events if one.kind is Kind.FEEDBACK}
    said = [row for id, seq in spoken_of.items() for row in _said(journal, id, seq)]
    return Page(
        cursor=events[-1].seq if events else after,
        rows=tuple(_rows(journal, finished)),
        feedback=tuple(said),
    )


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
        found = page(journal, cursor)
        return None if found.cursor == cursor else self._add(journal, found)

    def _add(self, journal: JournalReader, found: Page) -> int:
        self._ledger.add(journal.journal_id, found.cursor, found.rows, found.feedback)
        return len(found.rows)

    def by(self, workers: Workers, progress: Callable[[int], None]) -> int:
        """Bring in what is there now, as `once` does, with pages that workers make.

        They read the journals by themselves, so they are on this machine. Raises NodeRefused and
        ClusterUnavailable besides; what is in by then stays, and `once` or this goes on.
        """
        total = 0
        for journal in self._journals():
            first, last = self._ledger.cursor(journal.journal_id), journal.last_seq()
            after = iter(range(first, last, BATCH))
            coming: deque[Future[bytes]] = deque()
            while True:
                # Enough that nobody waits for work, and not the whole ledger in memory.
                for start in islice(after, 2 * workers.slots - len(coming)):
                    line = json.dumps({"instance": journal.instance, "after": start})
                    coming.append(workers.submit(piece([line])))
                if not coming:
                    break
                (came,) = answers(coming.popleft().result(), 1)
                added = self._add(journal, codec.decode(came, Page))
                total += added
                progress(added)
        return total


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
