"""Which journals each of several deliverers takes. They agree without a word between them: each
looks at who lives and at what is free, and keeps to its share.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Move:
    """What one deliverer does now, in order of names."""

    give_back: tuple[str, ...] = ()
    most_busy: int = 0
    """How many busy journals it may hold after that."""
    most_idle: int = 0


def move(journals: Mapping[str, bool], mine: Collection[str], alive: int) -> Move:
    """Return what to give back, and how much may be taken of what is free.

    `journals` says of each whether there is work in it; those with work are shared out apart, as
    a journal of a server that is gone costs nothing. The shares of all who live, rounded up, hold
    every journal; and only work is worth a change of hands.

    >>> move({"a": True, "b": True, "c": False}, mine=["a", "b", "c"], alive=2)
    Move(give_back=('b',), most_busy=1, most_idle=1)
    """
    busy = sorted(name for name, works in journals.items() if works)
    most_busy = _share(len(busy), alive)
    held = [name for name in busy if name in mine]
    gone = [name for name in sorted(mine) if name not in journals]
    return Move(
        give_back=(*held[most_busy:], *gone),
        most_busy=most_busy,
        most_idle=_share(len(journals) - len(busy), alive),
    )


def _share(count: int, alive: int) -> int:
    return -(-count // max(1, alive))
