"""Rows of an evaluation to its figures: a pure function, so a results file can be read again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from ddx.core.calibration import Calibration, calibration
from ddx.core.caseset import Case, by_disease
from ddx.core.evaluation import Row
from ddx.core.ranking import (
    Estimate,
    Luck,
    bootstrap,
    hit,
    ndcg_of_rank,
    reciprocal_rank,
    share,
)

TOPS = (1, 3, 5, 10)

Filter = Callable[[Case], bool]


def _flag(name: str, value: bool) -> Filter:  # noqa: FBT001
    return lambda case: case.flags.get(name) is value


STRATA: Mapping[str, tuple[str, tuple[Filter, ...]]] = {
    "clean": (
        "own paper not among the disease's sources",
        (_flag("pmid_in_kb", False),),
    ),
    "with": (
        "own paper among the disease's sources: a leak, read it beside `clean` only",
        (_flag("pmid_in_kb", True),),
    ),
    "in_kb": ("disease in the knowledge base", (_flag("in_kb", True),)),
    "clean_in_kb": (
        "clean, and disease in the knowledge base",
        (_flag("pmid_in_kb", False), _flag("in_kb", True)),
    ),
}
"""Name -> what it holds, and the cases that belong to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How good the lists of some cases are."""

    n: int
    """Cases. Refusals and failures are among them, as misses."""
    diseases: int
    answered: int
    """Answers; with several attempts for each case, all attempts are counted."""
    declined: int
    failed: int
    tops: Mapping[int, Estimate]
    mrr: Estimate
    ndcg_10: Estimate
    tops_grouping: Mapping[int, Estimate]
    """With the truth's group counted too."""

    def as_json(self) -> dict[str, Any]:
        """Return it as `ddx evaluate --json` prints it."""
        return {
            "n": self.n,
            "diseases": self.diseases,
            "answered": self.answered,
            "declined": self.declined,
            "failed": self.failed,
            **{f"top_{k}": found.as_json() for k, found in self.tops.items()},
            "mrr": self.mrr.as_json(),
            "ndcg_10": self.ndcg_10.as_json(),
            "with_grouping": {
                f"top_{k}": found.as_json() for k, found in self.tops_grouping.items()
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the answers took."""

    p50_s: float | None
    p95_s: float | None
    total_s: float
    """Sum over answers: with several at a time, more than passed on the clock."""
    input_tokens: int | None
    output_tokens: int | None
    usd: float | None
    """None where any answer's cost is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All figures of an evaluation."""

    all: Figures
    strata: Mapping[str, Figures]
    errors: Mapping[str, int]
    """Error code -> answers."""
    how: Mapping[str, int]
    """`code`, `name`, `group` -> answers that listed the truth so."""
    calibration: Calibration | None
    cost: Cost
    stable: float | None
    """Share of cases whose first diagnosis was the same at each attempt; None for one attempt."""
    truths_without_ids: int
    """Cases that only a name can match."""

    def as_json(self) -> dict[str, Any]:
        """Return it as `ddx evaluate --json` prints it."""
        return {
            **self.all.as_json(),
            "strata": {name: found.as_json() for name, found in self.strata.items()},
            "errors": dict(self.errors),
            "found_by": dict(self.how),
            "calibration": asdict(self.calibration) if self.calibration else None,
            "cost": asdict(self.cost),
            "same_first_diagnosis": self.stable,
            "truths_without_ids": self.truths_without_ids,
        }


def summarise(cases: Sequence[Case], rows: Iterable[Row], luck: Luck) -> Summary:
    """Return the figures. A case without a row counts as a miss."""
    by_case: dict[str, list[Row]] = {case.id: [] for case in cases}
    for row in rows:
        if row.case_id in by_case:
            by_case[row.case_id].append(row)
    flat = [row for found in by_case.values() for row in found]
    first = [row for row in flat if row.listed and row.listed[0].probability is not None]
    return Summary(
        all=_figures(cases, by_case, luck),
        strata=_strata(cases, by_case, luck),
        errors=Counter(row.error_code for row in flat if row.error_code),
        how=Counter(str(row.grade.how) for row in flat if row.grade.how),
        calibration=calibration(
            [row.listed[0].probability or 0.0 for row in first],
            [row.grade.rank == 1 for row in first],
        ),
        cost=_cost(flat),
        stable=_stable(by_case.values()),
        truths_without_ids=sum(not case.truth.ids for case in cases),
    )


def strata_of(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Return the cases of each stratum that says something about this set.

    `clean` is always said where it is known; another only where it is not the same as all or
    as one before it.
    """
    found: dict[str, list[Case]] = {}
    for name, (_, filters) in STRATA.items():
        inside = [case for case in cases if all(belongs(case) for belongs in filters)]
        said = inside == list(cases) or inside in found.values()
        if inside and (name == "clean" or not said):
            found[name] = inside
    if "clean" not in found:
        found.pop("with", None)
    return found


def _strata(
    cases: Sequence[Case], rows: Mapping[str, Sequence[Row]], luck: Luck
) -> dict[str, Figures]:
    strata = strata_of(cases)
    found = {name: _figures(inside, rows, luck) for name, inside in strata.items()}
    for name, inside in {"": list(cases), **strata}.items():
        found[f"{name}_macro".lstrip("_")] = _figures(inside, rows, luck, macro=True)
    return found


def _figures(
    cases: Sequence[Case],
    rows: Mapping[str, Sequence[Row]],
    luck: Luck,
    *,
    macro: bool = False,
) -> Figures:
    """Return the figures of some cases; `macro` gives each disease the same weight."""

    def estimate(score: Callable[[Row], float]) -> Estimate:
        if not macro:
            return share([_mean(score, rows[case.id]) for case in cases], luck)
        diseases = by_disease(cases).values()
        return bootstrap(
            [sum(_mean(score, rows[c.id]) for c in some) / len(some) for some in diseases], luck
        )

    outcomes = Counter(row.outcome for case in cases for row in rows[case.id])
    return Figures(
        n=len(cases),
        diseases=len(by_disease(cases)),
        answered=outcomes["answered"],
        declined=outcomes["insufficient_information"],
        failed=outcomes["failed"],
        tops={k: estimate(partial(_hit, k=k)) for k in TOPS},
        mrr=estimate(lambda row: reciprocal_rank(row.grade.rank)),
        ndcg_10=estimate(lambda row: ndcg_of_rank(row.grade.rank, 10)),
        tops_grouping={k: estimate(partial(_hit_grouping, k=k)) for k in TOPS},
    )


def _hit(row: Row, *, k: int) -> float:
    return hit(row.grade.rank, k)


def _hit_grouping(row: Row, *, k: int) -> float:
    return hit(row.grade.rank_grouping, k)


def _mean(score: Callable[[Row], float], rows: Sequence[Row]) -> float:
    return sum(map(score, rows)) / len(rows) if rows else 0.0


def _cost(rows: Sequence[Row]) -> Cost:
    times = sorted(row.duration_s for row in rows)
    return Cost(
        p50_s=_quantile(times, 0.5),
        p95_s=_quantile(times, 0.95),
        total_s=round(sum(times), 3),
        input_tokens=_total([row.input_tokens for row in rows]),
        output_tokens=_total([row.output_tokens for row in rows]),
        usd=_total([row.cost_usd for row in rows]),
    )


def _total(values: Sequence[int | float | None]) -> Any:
    """Add up, or None where one is unknown: a sum of what is known would look like all.

    >>> _total([1, 2]), _total([1, None]), _total([])
    (3, None, None)
    """
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _quantile(ordered: Sequence[float], q: float) -> float | None:
    """Return the value that a share `q` of the values does not exceed.

    >>> _quantile([1.0, 2.0, 3.0, 4.0], 0.5), _quantile([], 0.5)
    (2.0, None)
    """
    if not ordered:
        return None
    return ordered[max(0, -(-int(q * 1000) * len(ordered) // 1000) - 1)]


def _stable(groups: Iterable[Sequence[Row]]) -> float | None:
    repeated = [rows for rows in groups if len(rows) > 1]
    if not repeated:
        return None
    same = sum(
        len({row.listed[0].name if row.listed else row.outcome for row in rows}) == 1
        for rows in repeated
    )
    return round(same / len(repeated), 6)
