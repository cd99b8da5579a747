"""Keep what somebody says of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ddx.core.feedback import Feedback, same
from ddx.core.record import PredictionId
from ddx.errors import PredictionNotFound
from ddx.ports import Journal


async def give(journal: Journal, id: PredictionId, feedback: Feedback) -> Sequence[Feedback]:
    """Keep it, on stable storage on return; return all that was said of the prediction.

    The same thing sent again right after is kept once: a retry changes nothing. Raises
    PredictionNotFound where none of this id is finished, Erased, JournalUnavailable.
    """
    before = await asyncio.to_thread(_before, journal, id)
    if before and same(before[-1], feedback):
        return before
    await asyncio.wrap_future(journal.add_feedback(id, feedback))
    return [*before, feedback]


def _before(journal: Journal, id: PredictionId) -> Sequence[Feedback]:
    found = journal.find(id)
    if found is None or found.completion is None:
        raise PredictionNotFound
    return journal.feedback_of(id)
