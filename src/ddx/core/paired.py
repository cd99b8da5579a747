"""Two evaluations of the same cases: which is better, and whether chance explains it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ddx.core.evaluation import Row
from ddx.core.ranking import (
    Estimate,
    Luck,
    bootstrap,
    hit,
    mcnemar,
    reciprocal_rank,
    share,
    sign_flip,
)
from ddx.core.summary import TOPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """One figure of two evaluations."""

    figure: str
    """`top_1` … `top_10`, or `mrr`."""
    first: Estimate
    second: Estimate
    difference: Estimate
    """Second less first, with a paired bootstrap's interval."""
    only_first: int
    """Cases in which the first is better."""
    only_second: int
    p: float
    """Two-sided: McNemar's exact test for a top, sign flips for the reciprocal rank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two evaluations side by side."""

    n: int
    figures: tuple[Paired, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as `ddx evaluate --compare --json` prints it."""
        return {
            "n": self.n,
            **{
                found.figure: {k: v for k, v in asdict(found).items() if k != "figure"}
                for found in self.figures
            },
        }


def compare(first: Sequence[Row], second: Sequence[Row], luck: Luck) -> Comparison:
    """Compare the first attempts at the cases that both have."""
    ours = {row.case_id: row for row in first if row.attempt == 1}
    theirs = {row.case_id: row for row in second if row.attempt == 1}
    shared = [id for id in ours if id in theirs]
    pairs = [(ours[id].grade.rank, theirs[id].grade.rank) for id in shared]
    figures = [_paired(f"top_{k}", pairs, _hits(k), luck) for k in TOPS]
    figures.append(_paired("mrr", pairs, reciprocal_rank, luck))
    return Comparison(n=len(shared), figures=tuple(figures))


def _hits(k: int) -> Callable[[int | None], float]:
    return lambda rank: hit(rank, k)


def _paired(
    figure: str,
    pairs: Sequence[tuple[int | None, int | None]],
    score: Callable[[int | None], float],
    luck: Luck,
) -> Paired:
    first, second = [score(a) for a, _ in pairs], [score(b) for _, b in pairs]
    differences = [b - a for a, b in zip(first, second, strict=True)]
    worse, better = sum(d < 0 for d in differences), sum(d > 0 for d in differences)
    return Paired(
        figure=figure,
        first=share(first, luck),
        second=share(second, luck),
        difference=bootstrap(differences, luck),
        only_first=worse,
        only_second=better,
        p=sign_flip(differences, luck) if figure == "mrr" else mcnemar(worse, better),
    )
