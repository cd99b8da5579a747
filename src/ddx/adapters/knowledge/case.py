"""A case as the ranking sees it: findings, sex, age, each with the place it came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ddx.adapters.knowledge.index import Index
from ddx.adapters.knowledge.stages import age_years
from ddx.core.record import Findings

_SEXES = frozenset({"MALE", "FEMALE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A finding that is present, or was looked for and is absent."""

    term: int
    """Row in the index."""
    start: int | None = None
    """`text[start:end]` says it; None where it came as a code."""
    end: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is known of one patient."""

    present: tuple[Finding, ...] = ()
    absent: tuple[Finding, ...] = ()
    sex: str | None = None
    """MALE or FEMALE."""
    age_years: float | None = None
    unknown: tuple[str, ...] = ()
    """Codes that are no finding of this release."""


def coded_case(index: Index, coded: Findings) -> Case:
    """Read codes; older ids lead to today's, and what is no finding is kept as unknown."""
    present, absent = (_known(index.rows, ids) for ids in (coded.present, coded.absent))
    return Case(
        present=present,
        absent=absent,
        sex=coded.sex if coded.sex in _SEXES else None,
        age_years=age_years(coded.age) if coded.age else None,
        unknown=tuple(
            dict.fromkeys(id for id in coded.present + coded.absent if id not in index.rows)
        ),
    )


def combine(index: Index, *cases: Case) -> Case:
    """Join what came as codes and as text; of two that say the same, the first is kept.

    A finding that is present wins over its absence, and so over the absence of all above it:
    'no rash' and later 'papules' is a rash.
    """
    present = _first(finding for case in cases for finding in case.present)
    implied = {int(above) for finding in present for above in index.ancestors(finding.term)[0]}
    absent = _first(finding for case in cases for finding in case.absent)
    return Case(
        present=present,
        absent=tuple(finding for finding in absent if finding.term not in implied),
        sex=next((case.sex for case in cases if case.sex), None),
        age_years=next((c.age_years for c in cases if c.age_years is not None), None),
        unknown=tuple(dict.fromkeys(id for case in cases for id in case.unknown)),
    )


def _known(rows: Mapping[str, int], ids: Iterable[str]) -> tuple[Finding, ...]:
    return tuple(Finding(term=rows[id]) for id in ids if id in rows)


def _first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One for each term: the one with a place in the text, if any, else the first."""
    kept: dict[int, Finding] = {}
    for finding in findings:
        known = kept.get(finding.term)
        if known is None or (known.start is None and finding.start is not None):
            kept[finding.term] = finding
    return tuple(kept.values())
