"""Work that its client's leaving does not end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """Tasks that are waited for when the server stops. Belongs to one event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run it to its end, whether somebody waits for it or not."""
        task = asyncio.create_task(work)
        # The loop keeps no task alive that nobody holds.
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def settle(self, within_s: float) -> None:
        """Wait until all have ended, but not longer."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be waiting: that is no fault to report
