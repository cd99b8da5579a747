"""What waits is gathered into pieces, and each is told its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future

import pytest
from tests.make import an_answer

from ddx.core import codec
from ddx.core.evaluation import Asked
from ddx.core.pieces import lines_of, piece, refusal
from ddx.core.record import Declined, Request
from ddx.errors import ClusterUnavailable, NodeRefused
from ddx.services.pieces import Pieces, WorkersAsker, WorkersEngine


def _echo(lines: list[str]) -> bytes:
    return piece([f"{line}!" for line in lines])


class Here:
    """Workers in this process; what they answer is set by the test."""

    slots = 2

    def __init__(self) -> None:
        self.pieces: list[list[str]] = []
        self.answer: Callable[[list[str]], bytes] = _echo

    def submit(self, piece: bytes) -> Future[bytes]:
        lines = lines_of(piece)
        self.pieces.append(lines)
        answer: Future[bytes] = Future()
        try:
            answer.set_result(self.answer(lines))
        except ClusterUnavailable as error:
            answer.set_exception(error)
        return answer


async def test_what_is_asked_in_one_moment_goes_in_pieces_and_each_gets_its_own_answer() -> None:
    here = Here()
    pieces = Pieces(here, 3)

    found = await asyncio.gather(*(pieces.ask(f"q{n}") for n in range(7)))

    assert found == [f"q{n}!" for n in range(7)]
    assert [len(one) for one in here.pieces] == [3, 3, 1]
    assert await pieces.ask("later") == "later!"


async def test_a_node_that_refuses_ends_every_question_of_its_piece() -> None:
    here = Here()
    here.answer = lambda lines: refusal("no DSPy here")

    found = await asyncio.gather(
        *(Pieces(here, 2).ask(f"q{n}") for n in range(2)), return_exceptions=True
    )

    assert [type(one) for one in found] == [NodeRefused, NodeRefused]
    assert str(found[0]) == "no DSPy here"


async def test_a_piece_that_was_given_up_or_came_back_short_is_an_error() -> None:
    here = Here()
    here.answer = lambda lines: piece(lines[:-1])
    with pytest.raises(NodeRefused):
        await asyncio.gather(*(Pieces(here, 3).ask(f"q{n}") for n in range(3)))

    def gone(lines: list[str]) -> bytes:
        raise ClusterUnavailable("gone")

    here.answer = gone
    with pytest.raises(ClusterUnavailable):
        await Pieces(here, 3).ask("q")
    here.answer = lambda lines: b"\xff"
    with pytest.raises(UnicodeDecodeError):
        await Pieces(here, 3).ask("q")


async def test_an_asker_and_an_engine_read_what_workers_say() -> None:
    here, request = Here(), Request(case="fever", model_name="m")
    asked = Asked(outcome=Declined(reason=""), duration_s=0.1 + 0.2)
    here.answer = lambda lines: piece([codec.encode(asked)])
    assert await WorkersAsker(here, 16).ask(request) == asked
    here.answer = lambda lines: piece([codec.encode(an_answer())])
    assert await WorkersEngine(here).ask(request, 1.0) == an_answer()
    assert [codec.decode(line, Request) for (line,) in here.pieces] == [request, request]
