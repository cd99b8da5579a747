"""Figures as cells, CSV and Markdown."""

from __future__ import annotations

import csv as csv_format
from collections.abc import Sequence
from datetime import datetime

from ddx.core.report import By, Figures, said

HEAD = (
    *("n", "success %", "declined", "failed", "p50 s", "p95 s", "p99 s", "LLM p50 s"),
    *("attempts", "tokens in", "tokens out", "USD", "agreed"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def key(figures: Figures, by: Sequence[By]) -> tuple[str, ...]:
    """Say the values of a group.

    >>> key(Figures(key=(None, 0.7)), (By.ERROR_CODE, By.TEMPERATURE))
    ('none', '0.7')
    """
    return tuple(named(value, one) for one, value in zip(by, figures.key, strict=True))


def named(value: object, by: By) -> str:
    """Say one value of a group."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:00" if by is By.HOUR else "%Y-%m-%d")
    return said(value)


def cells(figures: Figures) -> tuple[str, ...]:
    """Say the figures under HEAD; what is not known is a dash."""
    rate = figures.success_rate
    cost = "-" if figures.cost_usd is None else f"{figures.cost_usd:.4f}"
    if figures.cost_unknown and figures.cost_usd is not None:
        cost += "+"
    return (
        str(figures.predictions),
        "-" if rate is None else f"{100 * rate:.1f}",
        str(figures.declined),
        str(figures.failed + figures.cancelled + figures.interrupted),
        *(_seconds(value) for value in (figures.p50_s, figures.p95_s, figures.p99_s)),
        _seconds(figures.llm_p50_s),
        "-" if figures.attempts is None else f"{figures.attempts:.2f}",
        *("-" if n is None else str(n) for n in (figures.input_tokens, figures.output_tokens)),
        cost,
        f"{figures.accepted}/{figures.rated}" if figures.rated else "-",
    )


def csv(groups: Sequence[Figures], by: Sequence[By]) -> str:
    """Return the groups as CSV, with a line of names; what is not known is empty."""
    out = _Text()
    writer = csv_format.writer(out, lineterminator="\n")
    rows = [one.as_json(by) for one in groups]
    writer.writerow(rows[0] if rows else [one.value for one in by])
    for row in rows:
        writer.writerow([_safe(value) for value in row.values()])
    return "".join(out)


def markdown(all: Figures, groups: Sequence[Figures], by: Sequence[By]) -> str:
    """Return a table of Markdown, its last line over all."""
    head = (*(one.value for one in by), *HEAD)
    last = (*(("all",) + ("",) * (len(by) - 1) if by else ()), *cells(all))
    lines = [head, ("---",) * len(head), *((*key(one, by), *cells(one)) for one in groups), last]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


class _Text(list[str]):
    """What csv can write to."""

    write = list.append


def _safe(value: object) -> object:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
