"""The processes of one data folder talk to each other: a question, an answer, a line of JSON each,
over a socket that only their user can reach.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

Question = dict[str, Any]
Answers = Callable[[Question], Awaitable[dict[str, Any]]]
FOLDER = "run"
DEATHS = "deaths"
"""A file in it with a byte for each worker that ended by itself, for the metrics."""
_LONGEST = 16 * 2**20
_PATH_LIMIT = 100
"""What the kernel takes of a socket's path (unix(7): 108 bytes)."""


class SiblingAway(Exception):
    """It does not answer."""


@asynccontextmanager
async def listening(data: Path, instance: str, answers: Answers) -> AsyncIterator[None]:
    """Answer the questions of other processes as long as the context lasts."""
    folder = data / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{instance}.sock"
    path.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX)
    with _address(path) as address:
        door.bind(address)
    path.chmod(0o600)
    under_way: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        under_way.add(task)
        try:
            answer = await answers(json.loads(await reader.readline()))
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError):
            pass  # whoever asked is gone, or is none of ours
        finally:
            under_way.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(one, sock=door, limit=_LONGEST)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)
        for task in list(under_way):
            task.cancel()


async def ask(data: Path, instance: str, question: Question) -> dict[str, Any]:
    """Return a process's answer, however long it takes. Raises SiblingAway."""
    try:
        with _address(data / FOLDER / f"{instance}.sock") as address:
            reader, writer = await asyncio.open_unix_connection(address, limit=_LONGEST)
        try:
            writer.write(json.dumps(question).encode() + b"\n")
            return _read(await reader.readline())
        finally:
            writer.close()
    except (OSError, ValueError) as error:
        raise SiblingAway(instance) from error


def ask_now(data: Path, instance: str, question: Question, within_s: float) -> dict[str, Any]:
    """Return a process's answer. Blocks. Raises SiblingAway."""
    try:
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(within_s)
            with _address(data / FOLDER / f"{instance}.sock") as address:
                door.connect(address)
            door.sendall(json.dumps(question).encode() + b"\n")
            with door.makefile("rb") as answer:
                return _read(answer.readline())
    except (OSError, ValueError) as error:
        raise SiblingAway(instance) from error


def _read(line: bytes) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise ValueError("the answer was cut off")
    found: dict[str, Any] = json.loads(line)
    return found


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """Give the address of a socket's file, also where its path is longer than a socket's may be."""
    if len(os.fsencode(path)) <= _PATH_LIMIT:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        with suppress(OSError):
            os.close(folder)
