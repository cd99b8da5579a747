"""How much the answers to one case differ when it is asked again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ddx.core.evaluation import Row
from ddx.core.grading import Listed
from ddx.core.moves import shared
from ddx.core.ranking import Estimate, Luck, share

DEPTH = 5
"""Places whose overlap is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """How alike two answers to one case are: means over cases of the means over their pairs."""

    cases: int
    """Cases with two answers and more."""
    pairs: int
    first: Estimate
    """Share of the pairs that begin with one diagnosis."""
    overlap: Estimate
    """Share of the first five places whose diagnosis is in both, whatever its place."""

    def as_json(self) -> dict[str, Any]:
        """Return it as `ddx evaluate --json` prints it."""
        return {
            "cases": self.cases,
            "pairs": self.pairs,
            "same_first": self.first.as_json(),
            "top_5_overlap": self.overlap.as_json(),
        }


def stability(rows: Iterable[Row], name_key: Callable[[str], str], luck: Luck) -> Stability | None:
    """Return how stable the answers are; None where no case has two.

    A failure is no answer and is left out: that it failed is counted elsewhere. Two refusals are
    alike, a refusal and a list are not. Diagnoses are one where they share an id, or where
    `name_key` says that their names do.
    """
    by_case: dict[str, list[Row]] = {}
    for row in rows:
        if row.outcome != "failed":
            by_case.setdefault(row.case_id, []).append(row)
    first, overlaps, pairs = list[float](), list[float](), 0
    for answers in by_case.values():
        both = [
            _alike(one.listed[:DEPTH], other.listed[:DEPTH], name_key)
            for one, other in combinations(answers, 2)
        ]
        if both:
            pairs += len(both)
            first.append(sum(same for same, _ in both) / len(both))
            overlaps.append(sum(part for _, part in both) / len(both))
    if not pairs:
        return None
    return Stability(
        cases=len(first), pairs=pairs, first=share(first, luck), overlap=share(overlaps, luck)
    )


def _alike(
    one: Sequence[Listed], other: Sequence[Listed], name_key: Callable[[str], str]
) -> tuple[float, float]:
    """Return whether both begin alike, and the part of the longer list that is in both."""
    if not one and not other:
        return 1.0, 1.0
    pairs = shared(one, other, name_key)
    return float(pairs.get(0) == 0), len(pairs) / max(len(one), len(other))
