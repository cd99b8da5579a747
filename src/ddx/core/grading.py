"""Whether a diagnosis is the truth: by code, by name, or only by group. Never by resemblance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ddx.core.caseset import Truth

PRECISE = frozenset({"MONDO", "OMIM", "ORPHA"})
"""Terminologies whose ids name one disease."""
_SPELLINGS = {"ORPHANET": "ORPHA", "ICD-10": "ICD10", "ICD-10-CM": "ICD10CM", "MIM": "OMIM"}


class How(StrEnum):
    """Why a diagnosis counts as the truth."""

    CODE = "code"
    NAME = "name"
    GROUP = "group"
    """Its parent, its child, or the phenotypic series that it is in: counted apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One diagnosis of a list, as far as grading needs it."""

    name: str
    ids: tuple[str, ...] = ()
    probability: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """Where the truth stands in a list."""

    rank: int | None = None
    """First place with the truth itself; None: not listed."""
    rank_grouping: int | None = None
    """First place with the truth or its group: never below `rank`'s."""
    how: How | None = None
    """How the better of the two was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relations:
    """What an ontology says about ids. Empty where none is given."""

    equivalents: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """OMIM or ORPHA id -> Mondo ids."""
    parents: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Mondo id -> Mondo ids one step up."""
    members: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Mondo id of a phenotypic series -> Mondo ids of all that is in it. Two of its members
    are not each other's group: they are different diseases."""


class Grader:
    """Finds the truth in a list.

    >>> grader = Grader(name_key=str.casefold)
    >>> truth = Truth(name="Marfan syndrome", ids=("OMIM:154700",))
    >>> coded = Listed(name="MFS", ids=("ORPHA:558", "OMIM:154700"))
    >>> grader.grade(truth, [Listed(name="Flu"), coded])
    Grade(rank=2, rank_grouping=2, how=<How.CODE: 'code'>)
    >>> grader.grade(truth, [Listed(name="MARFAN SYNDROME")]).how
    <How.NAME: 'name'>
    >>> grader.grade(truth, [Listed(name="Marfan-like syndrome")])
    Grade(rank=None, rank_grouping=None, how=None)
    """

    def __init__(
        self,
        *,
        name_key: Callable[[str], str],
        relations: Relations | None = None,
        ground: Callable[[str], Sequence[str]] = lambda name: (),  # noqa: ARG005
    ) -> None:
        """`name_key` gives equal texts for two spellings of a name; `ground` the ids of the one
        disease that a name surely names, for truths that come without precise ids.
        """
        self._key = name_key
        self._relations = relations or Relations()
        self._ground = ground

    def grade(self, truth: Truth, listed: Sequence[Listed]) -> Grade:
        """Return the first place that is the truth, and the first of its group."""
        wanted = self._ids(truth.ids)
        # Beside, not instead: who lists the class that the truth came with is right, too.
        named = frozenset() if _precise(wanted) else self._ids(tuple(self._ground(truth.name)))
        key = self._key(truth.name)
        group: int | None = None
        for rank, found in enumerate(listed, start=1):
            ids = self._ids(found.ids)
            name = self._key(found.name)
            how = self._same(wanted, ids, key, name)
            if how is None and named:
                how = self._same(named, ids, key, name)
            if how is not None:
                # A group above the truth itself: `how` says that it was the better one.
                better = How.GROUP if group is not None else how
                return Grade(rank=rank, rank_grouping=group or rank, how=better)
            if group is None and self._related(wanted | named, ids):
                group = rank
        return Grade(rank_grouping=group, how=How.GROUP if group is not None else None)

    def _same(self, wanted: frozenset[str], ids: frozenset[str], key: str, name: str) -> How | None:
        if wanted & ids & _precise(wanted | ids):
            return How.CODE
        # A class of ICD-10 can hold many diseases: it decides only where nothing finer is known.
        if not _precise(wanted) and wanted & ids:
            return How.CODE
        # Two ids of one terminology are two diseases, whatever they are called.
        if _systems(wanted) & _systems(ids):
            return None
        return How.NAME if key and key == name else None

    def _related(self, wanted: frozenset[str], ids: frozenset[str]) -> bool:
        pairs = [pair for a in wanted for b in ids for pair in ((a, b), (b, a))]
        return any(
            above in self._relations.parents.get(below, ())
            or below in self._relations.members.get(above, ())
            or _icd_related(above, below)
            for above, below in pairs
        )

    def _ids(self, ids: Sequence[str]) -> frozenset[str]:
        plain = {normal_id(id) for id in ids}
        return frozenset(plain.union(*(self._relations.equivalents.get(id, ()) for id in plain)))


def normal_id(id: str) -> str:
    """Return an id in the one spelling that is compared.

    >>> normal_id("Orphanet:558"), normal_id("ICD-10:j02.9"), normal_id(" OMIM:154700 ")
    ('ORPHA:558', 'ICD10:J02.9', 'OMIM:154700')
    """
    system, _, code = id.strip().upper().partition(":")
    return f"{_SPELLINGS.get(system, system)}:{code}"


def _precise(ids: frozenset[str]) -> frozenset[str]:
    return frozenset(id for id in ids if id.partition(":")[0] in PRECISE)


def _systems(ids: frozenset[str]) -> frozenset[str]:
    return frozenset(id.partition(":")[0] for id in _precise(ids))


def _icd_related(above: str, below: str) -> bool:
    """Whether one ICD-10 code is the class of another.

    >>> _icd_related("ICD10:K40", "ICD10:K40.9"), _icd_related("ICD10:K40.1", "ICD10:K40.9")
    (True, False)
    """
    return above.startswith("ICD10:") and below != above and below.startswith(above)
