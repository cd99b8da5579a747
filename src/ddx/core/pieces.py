"""Pieces of work for other processes: lines of JSON in, as many lines out, or one refusal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from ddx.errors import NodeRefused

MOST_BYTES = 60_000
"""Of a piece with more than one line. What is below 100 kB travels inside the message that hands
the piece over: it never lies in a shared store, which could be written to a disk."""
_REFUSED = b'{"refused":'


def piece(lines: Sequence[str]) -> bytes:
    """Return lines as one piece. JSON has no line end inside."""
    return "\n".join(lines).encode()


def lines_of(piece: bytes) -> list[str]:
    r"""Return the lines of a piece; an empty one has none.

    >>> lines_of(piece(["a\u2028b", "c"])), lines_of(b"")
    (['a\u2028b', 'c'], [])
    """
    return piece.decode().split("\n") if piece else []


def refusal(message: str) -> bytes:
    """Return what a worker answers that cannot do a piece; `message` holds no patient text."""
    return _REFUSED + json.dumps(message).encode() + b"}"


def answers(piece: bytes, count: int) -> list[str]:
    """Return the lines of a worker's answer. Raises NodeRefused where it is none.

    >>> answers(refusal("no DSPy"), 3)
    Traceback (most recent call last):
    ddx.errors.NodeRefused: no DSPy
    """
    if piece.startswith(_REFUSED):
        raise NodeRefused(json.loads(piece)["refused"])
    found = lines_of(piece)
    if len(found) != count:
        raise NodeRefused(f"{len(found)} answers came to {count} questions")
    return found


def cut(lines: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """Cut lines into pieces of at most `most` lines and MOST_BYTES; a longer line is alone.

    >>> [len(some) for some in cut(["x"] * 7, 3)]
    [3, 3, 1]
    >>> [len(some) for some in cut(["x", "y" * MOST_BYTES, "z", "z"], 3)]
    [1, 1, 2]
    """
    first = size = 0
    for place, line in enumerate(lines):
        length = len(line.encode())
        if place > first and (place - first == most or size + length > MOST_BYTES):
            yield lines[first:place]
            first, size = place, 0
        size += length
    if lines:
        yield lines[first:]
