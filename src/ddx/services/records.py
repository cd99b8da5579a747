"""The records of all journals of a data folder, seen from one of its processes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import islice

from ddx.core.feedback import Feedback
from ddx.core.record import Prediction, PredictionId
from ddx.ports import Journal, JournalReader


class Records:
    """Looks in this process's own journal, then in the others. Safe for threads; blocks."""

    def __init__(self, own: Journal, all_of_them: Callable[[], Sequence[JournalReader]]) -> None:
        self._own, self._all = own, all_of_them

    def find(self, id: PredictionId, first: str = "") -> Prediction | None:
        """Return a record as it stands; looked for in the journal `first` before the others.

        Raises Erased where its key is destroyed.
        """
        found = self._own.find(id)
        if found is not None:
            return found
        for journal in sorted(self._others(), key=lambda one: one.instance != first):
            found = journal.find(id)
            if found is not None:
                return found
        return None

    def newest(
        self, before: PredictionId | None, since: PredictionId | None, limit: int
    ) -> Sequence[PredictionId]:
        """Return up to `limit` ids of all journals, the newest first; see ports.Journal."""
        each = [self._own.newest(before, since, limit)]
        each += [one.newest(before, since, limit) for one in self._others()]
        return list(islice(heapq.merge(*each, reverse=True), limit))

    def feedback_of(self, id: PredictionId) -> Sequence[Feedback]:
        """Return what was said of a prediction, in order. Raises Erased."""
        holder = self.holder(id)
        return self._own.feedback_of(id) if holder is None else holder.feedback_of(id)

    def holder(self, id: PredictionId) -> JournalReader | None:
        """Return the other journal that holds a prediction; None: ours does, or none.

        Raises Erased.
        """
        if self._own.find(id) is not None:
            return None
        return next((one for one in self._others() if one.find(id) is not None), None)

    def _others(self) -> list[JournalReader]:
        return [one for one in self._all() if one.instance != self._own.instance]
