"""Results of another thread, brought into the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Handover:
    """Awaits futures of the journal's thread, which finishes many at a time.

    `asyncio.wrap_future` wakes the loop once for each of them, and each wake-up is a system call
    for which the journal's thread gives up the interpreter's lock and must wait to have it back.
    Here one wake-up takes all that is done by then. Belongs to one event loop.
    """

    def __init__(self) -> None:
        self._done: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._woken = False

    async def __call__(self, future: Future[T]) -> T:
        """Return the future's result, or raise its error."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()

        def tell(done: Future[T]) -> None:
            # Put first, then asked: whoever clears the flag empties the queue after it.
            self._done.append((waiter, done))
            if not self._woken:
                self._woken = True
                loop.call_soon_threadsafe(self._hand_over)

        future.add_done_callback(tell)
        return await waiter

    def _hand_over(self) -> None:
        self._woken = False
        while self._done:
            waiter, done = self._done.popleft()
            if waiter.done():
                continue  # its request was cancelled
            error = done.exception()
            if error is None:
                waiter.set_result(done.result())
            else:
                waiter.set_exception(error)
