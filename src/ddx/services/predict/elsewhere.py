"""A tracker that another process holds: wait for its answer, or know that there will be none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ddx.core.record import (
    Answered,
    Completion,
    Declined,
    Interrupted,
    Prediction,
    PredictionId,
)
from ddx.errors import Erased, TrackerUnsettled
from ddx.ports import Held, Holder, Standing

_IDLE_S = 5.0
"""So long a living process may be at no work on what it has claimed, and not have written how it
stands, before we tell our caller.
"""
_PAUSES_S = (0.01, 0.02, 0.05, 0.1, 0.25)
"""Between two looks; the last one again and again."""


class Neighbours(Protocol):
    """The other processes of this data folder."""

    def alive(self, holder: Holder) -> bool:
        """Whether this very process still writes its journal; with an empty life, whether any
        does. Blocks.
        """

    def find(self, id: PredictionId, instance: str) -> Prediction | None:
        """Return a record of any journal here, looked for in this one first. Blocks.

        Raises Erased.
        """

    async def until_ended(self, holder: Holder, id: PredictionId) -> bool:
        """Return when the process says that a prediction of its own is not under way any more;
        at once, and False, where it does not answer.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What became of the prediction that holds a tracker."""

    answer: Prediction | None = None
    """What the caller is told."""
    reply: Completion | None = None
    """The same, where only that is had of it."""
    retry_of: PredictionId | None = None
    """Where neither is: what a new prediction tries again. None where no record ever was."""


class Elsewhere:
    """Follows predictions of other processes. Belongs to one event loop."""

    def __init__(
        self,
        neighbours: Neighbours,
        node: str,
        now_s: Callable[[], float],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._neighbours, self._node = neighbours, node
        self._now_s, self._pause = now_s, pause
        self._followed: dict[PredictionId, asyncio.Task[Found]] = {}

    async def outcome(self, held: Held, again: Callable[[], Awaitable[Held | None]]) -> Found:
        """Return what became of it. Callers who ask for the same one share one look.

        `again` asks who holds the tracker now. Raises TrackerUnsettled, Erased.
        """
        task = self._followed.get(held.by)
        if task is None:
            task = asyncio.create_task(self._follow(held, again))
            self._followed[held.by] = task
            task.add_done_callback(lambda _: self._followed.pop(held.by, None))
        return await asyncio.shield(task)

    async def _follow(self, held: Held, again: Callable[[], Awaitable[Held | None]]) -> Found:
        if held.holder is None or held.holder.node == self._node:
            return await self._here(held)
        return await self._far(held, again)

    async def _here(self, held: Held) -> Found:
        """Its journal is on this machine."""
        waited, idle_s = False, 0.0
        looked_s: float | None = None
        for pause_s in _pauses():
            holder = held.holder or Holder(node=self._node, instance="", life="")
            # Whether it lives is asked first: what it wrote before its death is then found.
            alive = await asyncio.to_thread(self._neighbours.alive, holder)
            found = await asyncio.to_thread(self._neighbours.find, held.by, holder.instance)
            if found is not None and held.holder is None and found.completion is None:
                # Of a journal that keeps its own claims: whoever writes it closed what was left
                # before, so this one is under way.
                holder = Holder(node=self._node, instance=found.instance, life="")
                alive = await asyncio.to_thread(self._neighbours.alive, holder)
            if found is not None and found.completion is not None:
                return _of(found, waited=waited)
            if not alive:
                return Found(retry_of=found.id if found else held.retry_of)
            # It lives and is not at work on it: it is about to write, or its journal fails.
            idle_s += self._now_s() - looked_s if looked_s is not None else 0.0
            if idle_s > _IDLE_S:
                raise TrackerUnsettled
            waited = True
            said = await self._neighbours.until_ended(holder, held.by)
            looked_s = self._now_s() if said or found is None else None
            await self._pause(pause_s)
        raise AssertionError("unreachable")

    async def _far(self, held: Held, again: Callable[[], Awaitable[Held | None]]) -> Found:
        """Its journal is on another machine: the claims say how it stands."""
        now: Held | None = held
        for pause_s in _pauses():
            if now is None or now.by != held.by:
                return Found(retry_of=held.retry_of)  # given up, or tried again by another
            match now.standing:
                case Standing.ANSWERED if now.reply is not None:
                    return Found(reply=now.reply)
                case Standing.ERASED:
                    raise Erased
                case Standing.ENDED:
                    return Found(retry_of=now.by)
                case _ if not now.heard:
                    raise TrackerUnsettled
            await self._pause(pause_s)
            now = await again()
        raise AssertionError("unreachable")


def _of(found: Prediction, *, waited: bool) -> Found:
    """Who waited for an outcome is told it, whatever it is; who comes after tries a failure
    again.
    """
    told = isinstance(found.outcome, Answered | Declined) or (
        waited and not isinstance(found.outcome, Interrupted)
    )
    return Found(answer=found) if told else Found(retry_of=found.id)


def _pauses() -> Iterator[float]:
    yield from _PAUSES_S
    while True:
        yield _PAUSES_S[-1]
