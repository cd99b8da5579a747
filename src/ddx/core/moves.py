"""Two rankings of one case, and how each diagnosis moved between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ddx.core.evaluation import listed
from ddx.core.grading import PRECISE, Listed
from ddx.core.record import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One diagnosis in two rankings. At least one of the two has it."""

    name: str
    """As the later ranking says it, where it is there."""
    before: int | None = None
    """Its rank, from 1; None where it is not listed."""
    after: int | None = None

    @property
    def said(self) -> str:
        """The move in a word.

        >>> [Move(name="x", before=b, after=a).said for b, a in ((3, 1), (1, 2), (2, 2))]
        ['up 2', 'down 1', 'same']
        >>> Move(name="x", after=1).said, Move(name="x", before=1).said
        ('new', 'gone')
        """
        if self.before is None:
            return "new"
        if self.after is None:
            return "gone"
        climbed = self.before - self.after
        if not climbed:
            return "same"
        return f"up {climbed}" if climbed > 0 else f"down {-climbed}"


def moves(before: Outcome, after: Outcome, name_key: Callable[[str], str]) -> list[Move]:
    """Return a move for each diagnosis: those of the later ranking first, then what is gone.

    Two entries are one diagnosis where they share an id of Mondo, OMIM or Orphanet, or where
    `name_key` says that their names are spellings of one; each entry is paired once.
    """
    old, new = listed(before), listed(after)
    pairs = shared(old, new, name_key)
    kept = [
        Move(
            name=one.name,
            before=pairs[place] + 1 if place in pairs else None,
            after=place + 1,
        )
        for place, one in enumerate(new)
    ]
    gone = [
        Move(name=one.name, before=place + 1)
        for place, one in enumerate(old)
        if place not in pairs.values()
    ]
    return [*kept, *gone]


def shared(
    old: Sequence[Listed], new: Sequence[Listed], name_key: Callable[[str], str]
) -> dict[int, int]:
    """Return the diagnoses that are in both lists: place in `new` -> place in `old`, from 0."""
    pairs: dict[int, int] = {}
    for place, one in enumerate(new):
        found = _place_of(one, old, set(pairs.values()), name_key)
        if found is not None:
            pairs[place] = found
    return pairs


def _place_of(
    one: Listed, among: Sequence[Listed], taken: set[int], name_key: Callable[[str], str]
) -> int | None:
    free = [(place, other) for place, other in enumerate(among) if place not in taken]
    ids, key = _ids(one), name_key(one.name)
    by_code = (place for place, other in free if ids & _ids(other))
    by_name = (place for place, other in free if key and key == name_key(other.name))
    return next(by_code, next(by_name, None))


def _ids(one: Listed) -> frozenset[str]:
    return frozenset(id for id in one.ids if id.partition(":")[0] in PRECISE)
