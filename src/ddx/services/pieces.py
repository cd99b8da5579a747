"""Ask processes elsewhere: requests that wait are gathered into pieces of several lines."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ddx.core import codec
from ddx.core.evaluation import Asked
from ddx.core.pieces import answers, cut, piece
from ddx.core.record import EngineAnswer, Request
from ddx.ports import Workers


class Pieces:
    """Gathers what is asked in the same moment. Belongs to one event loop."""

    def __init__(self, workers: Workers, lines: int) -> None:
        """`lines` is the most of one piece: what is done again where a machine dies."""
        self._workers, self._lines = workers, lines
        self._waiting: list[tuple[str, asyncio.Future[str]]] = []
        self._sent: set[asyncio.Task[None]] = set()

    async def ask(self, line: str) -> str:
        """Return the line that answers this one. Raises NodeRefused, ClusterUnavailable."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        if not self._waiting:
            # After all that are about to ask in this turn of the loop.
            loop.call_soon(self._send)
        self._waiting.append((line, answer))
        return await answer

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        place = 0
        for some in cut([line for line, _ in waiting], self._lines):
            told = [answer for _, answer in waiting[place : place + len(some)]]
            place += len(some)
            task = asyncio.create_task(self._one(some, told))
            self._sent.add(task)
            task.add_done_callback(self._sent.discard)

    async def _one(self, lines: Sequence[str], told: Sequence[asyncio.Future[str]]) -> None:
        try:
            came = await asyncio.wrap_future(self._workers.submit(piece(lines)))
            found = answers(came, len(lines))
        except Exception as error:
            # Whatever it is: nobody waits for ever.
            for answer in told:
                if not answer.done():
                    answer.set_exception(error)
            return
        for answer, line in zip(told, found, strict=True):
            if not answer.done():
                answer.set_result(line)


class WorkersAsker:
    """An Asker over workers. Nothing is kept there: no journal, no run per case."""

    def __init__(self, workers: Workers, lines: int) -> None:
        """`lines` is the most cases of one piece."""
        self._pieces = Pieces(workers, lines)

    async def ask(self, request: Request) -> Asked:
        """Return the answer; see ports.Asker. Raises NodeRefused, ClusterUnavailable."""
        return codec.decode(await self._pieces.ask(codec.encode(request)), Asked)


class WorkersEngine:
    """An Engine over workers: who asks it keeps what comes, in a journal of its own."""

    def __init__(self, workers: Workers) -> None:
        """Each request is a piece of its own."""
        self._pieces = Pieces(workers, 1)

    async def ask(self, request: Request, deadline_s: float) -> EngineAnswer:  # noqa: ARG002
        """Answer; see ports.Engine. The worker keeps the model's deadline."""
        return codec.decode(await self._pieces.ask(codec.encode(request)), EngineAnswer)
