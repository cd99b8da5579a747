"""Other methods beside ours: as published, and on the very same cases where that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ddx.core.caseset import Case
from ddx.core.evaluation import Row
from ddx.core.grading import Grade
from ddx.core.ranking import Estimate, Luck, hit, mcnemar, share
from ddx.core.summary import TOPS, strata_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """One line of a published table, shares in per cent."""

    method: str
    top_1: float | None = None
    top_3: float | None = None
    top_5: float | None = None
    top_10: float | None = None
    n: int | None = None
    source: str
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it without what is not known."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another method and ours on the cases whose published result is known."""

    method: str
    stratum: str
    """`all`, or one of the strata."""
    n: int
    theirs: Mapping[int, Estimate]
    ours: Mapping[int, Estimate]
    p: Mapping[int, float | None]
    """McNemar's exact p; None where only a share of attempts is published."""

    def as_json(self) -> dict[str, Any]:
        """Return it as `ddx evaluate --json` prints it."""
        return {
            "method": self.method,
            "stratum": self.stratum,
            "n": self.n,
            **{f"top_{k}": found.as_json() for k, found in self.theirs.items()},
            "ours": {f"top_{k}": found.as_json() for k, found in self.ours.items()},
            "p": {f"top_{k}": p for k, p in self.p.items()},
        }


def rows_of(table: Mapping[str, Any], set_name: str) -> tuple[PublishedRow, ...]:
    """Return the published rows that stand beside a set, by the beginning of its name.

    >>> table = {"sets": [{"names": ["abc"], "rows": [{"method": "M", "source": "S"}]}]}
    >>> [row.method for row in rows_of(table, "abc_dev")], rows_of(table, "other")
    (['M'], ())
    """
    return tuple(
        PublishedRow(**row)
        for entry in table["sets"]
        if set_name.lower().startswith(tuple(entry["names"]))
        for row in entry["rows"]
    )


def peers(cases: Sequence[Case], rows: Sequence[Row], luck: Luck) -> tuple[Peer, ...]:
    """Return each method that has published results of single cases, per stratum."""
    grades = {row.case_id: row.grade for row in rows if row.attempt == 1}
    methods = sorted({method for case in cases for method in case.published})
    strata = {"all": list(cases), **strata_of(cases)}
    return tuple(
        _peer(method, stratum, known, grades, luck)
        for method in methods
        for stratum, inside in strata.items()
        if (known := [case for case in inside if method in case.published])
    )


def _peer(
    method: str,
    stratum: str,
    cases: Sequence[Case],
    grades: Mapping[str, Grade],
    luck: Luck,
) -> Peer:
    """Published ranks count the truth's group too, so ours do; published shares do not."""
    found = [case.published[method] for case in cases]
    only_first = any(one.top_1 is not None for one in found)
    tops = TOPS[:1] if only_first else TOPS
    theirs = {
        k: [one.top_1 if one.top_1 is not None else hit(one.rank, k) for one in found] for k in tops
    }
    known = [grades.get(case.id, Grade()) for case in cases]
    ranks = [grade.rank if only_first else grade.rank_grouping for grade in known]
    ours = {k: [hit(rank, k) for rank in ranks] for k in tops}
    return Peer(
        method=method,
        stratum=stratum,
        n=len(cases),
        theirs={k: share(values, luck) for k, values in theirs.items()},
        ours={k: share(values, luck) for k, values in ours.items()},
        p={k: None if only_first else paired_p(ours[k], theirs[k]) for k in tops},
    )


def paired_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Return McNemar's p of two rows of 0 and 1 over the same cases.

    >>> paired_p([1, 1, 0], [1, 1, 0]), paired_p([1] * 9 + [0], [0] * 9 + [1])
    (1.0, 0.021484375)
    """
    pairs = list(zip(first, second, strict=True))
    return mcnemar(sum(a > b for a, b in pairs), sum(b > a for a, b in pairs))
