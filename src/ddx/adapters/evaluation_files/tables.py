"""The case list as CSV, and the figures as JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ddx.core.caseset import Case
from ddx.core.evaluation import Row

HEAD = (
    "case_id",
    "attempt",
    "truth",
    "truth_ids",
    "outcome",
    "error_code",
    "rank",
    "rank_grouping",
    "found_by",
    "first_diagnosis",
    "first_ids",
    "first_probability",
    "duration_s",
    "input_tokens",
    "output_tokens",
    "cost_usd",
)


def write_cases(path: Path, cases: Mapping[str, Case], rows: Sequence[Row]) -> None:
    """Write a line for each answer: what was true, what was said, what went wrong.

    No text of a case is in it.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(HEAD)
        table.writerows(lines(cases, rows))


def lines(cases: Mapping[str, Case], rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """Return the values under `HEAD` of each answer."""
    return [_line(cases[row.case_id], row) for row in rows]


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write the figures, as `--json` prints them."""
    path.write_text(json.dumps(summary, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _line(case: Case, row: Row) -> tuple[Any, ...]:
    first = row.listed[0] if row.listed else None
    return (
        case.id,
        row.attempt,
        case.truth.name,
        "|".join(case.truth.ids),
        row.outcome,
        row.error_code,
        row.grade.rank,
        row.grade.rank_grouping,
        row.grade.how,
        first.name if first else None,
        "|".join(first.ids) if first else None,
        first.probability if first else None,
        row.duration_s,
        row.input_tokens,
        row.output_tokens,
        row.cost_usd,
    )
