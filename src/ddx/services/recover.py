"""Close what a dead process left without an outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ddx.core.record import INTERRUPTION
from ddx.errors import JournalInUse
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


class Adoption:
    """Looks after journals whose server is gone, so that nothing stays without an outcome."""

    def __init__(
        self,
        instances: Callable[[], Iterable[str]],
        open_journal: Callable[[str], Journal],
        last_seq: Callable[[str], int],
    ) -> None:
        self._instances = instances
        self._open = open_journal
        self._last_seq = last_seq
        self._seen: dict[str, int] = {}
        """Where each journal ended when nothing in it was left to close."""

    def look(self) -> int:
        """Close what dead servers left; return how many predictions.

        A journal that has not grown since is not opened again. Raises JournalUnavailable.
        """
        closed = 0
        for instance in self._instances():
            if self._seen.get(instance) == self._last_seq(instance):
                continue
            try:
                journal = self._open(instance)
            except JournalInUse:
                continue  # its server lives
            try:
                closed += close_unfinished(journal)
            finally:
                journal.close()
            self._seen[instance] = self._last_seq(instance)
        return closed
