"""Close what a dead process left without an outcome."""

from __future__ import annotations

from ddx.core.record import INTERRUPTION
from ddx.ports import Journal


def close_unfinished(journal: Journal) -> int:
    """Give each accepted prediction without an outcome the outcome `interrupted`.

    To be called by the journal's writer before its first request; return how many there were.
    Raises JournalUnavailable.
    """
    left = journal.unfinished()
    for id in left:
        record = journal.find(id)
        if record is not None:
            journal.finish(record.completed(INTERRUPTION)).result()
    return len(left)
