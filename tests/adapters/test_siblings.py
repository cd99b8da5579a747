"""Processes of a data folder ask each other."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from ddx.adapters import siblings


async def echo(question: siblings.Question) -> dict[str, object]:
    return {"asked": question["ask"]}


async def test_a_question_is_answered_whoever_asks(tmp_path: Path) -> None:
    async with siblings.listening(tmp_path, "main", echo):
        assert await siblings.ask(tmp_path, "main", {"ask": "é\n"}) == {"asked": "é\n"}
        answer = await asyncio.to_thread(siblings.ask_now, tmp_path, "main", {"ask": "x"}, 5.0)
        assert answer == {"asked": "x"}


async def test_only_its_user_reaches_it(tmp_path: Path) -> None:
    async with siblings.listening(tmp_path, "main", echo):
        mode = (tmp_path / "run" / "main.sock").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
        assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700


async def test_a_path_longer_than_a_socket_s_does_not_matter(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 90) / ("b" * 90)
    deep.mkdir(parents=True)
    async with siblings.listening(deep, "main", echo):
        assert await siblings.ask(deep, "main", {"ask": "x"}) == {"asked": "x"}


async def test_one_that_is_not_there_is_away(tmp_path: Path) -> None:
    with pytest.raises(siblings.SiblingAway):
        await siblings.ask(tmp_path, "main", {"ask": "x"})
    with pytest.raises(siblings.SiblingAway):
        siblings.ask_now(tmp_path, "main", {"ask": "x"}, 1.0)


async def test_a_socket_that_a_dead_process_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "main.sock").touch()
    async with siblings.listening(tmp_path, "main", echo):
        assert await siblings.ask(tmp_path, "main", {"ask": "x"}) == {"asked": "x"}


async def test_one_that_ends_in_the_middle_is_away(tmp_path: Path) -> None:
    async def never(question: siblings.Question) -> dict[str, object]:
        await asyncio.Event().wait()
        return {}

    async with siblings.listening(tmp_path, "main", never):
        asking = asyncio.create_task(siblings.ask(tmp_path, "main", {"ask": "x"}))
        await asyncio.sleep(0.1)
    with pytest.raises(siblings.SiblingAway):
        await asking
