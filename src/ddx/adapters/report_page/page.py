"""The page: figures as tables, their course as charts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from jinja2 import Environment, PackageLoader, StrictUndefined

from ddx.core.report import TIMES, By, Difference, Failure, Figures
from ddx.core.report_text import HEAD, cells, key, named
from ddx.errors import MissingExtra, OutputRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the page shows."""

    title: str
    all: Figures
    by: Sequence[By]
    groups: Sequence[Figures]
    times: Sequence[Figures]
    """Grouped by `step`."""
    step: By
    failures: Sequence[tuple[Failure, str]]
    """Each with its MLflow run."""
    differences: Sequence[Difference]
    compared: tuple[str, str] | None


def write(path: Path, shown: Shown) -> None:
    """Write the page to a new file. Raises MissingExtra, OutputRefused."""
    text = (
        Environment(
            loader=PackageLoader("ddx.adapters.report_page", "."),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        .get_template("report.html")
        .render(
            shown=shown,
            head=HEAD,
            cells=cells,
            key=key,
            charts=_charts(shown.times, shown.step),
            bars=_group_charts(shown),
        )
    )
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise OutputRefused(f"{path} is there already") from None
    except OSError as error:
        raise OutputRefused(f"{path} cannot be made: {error.strerror}") from error
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


def _charts(times: Sequence[Figures], step: By) -> Mapping[str, str]:
    charts = _library()
    if not times:
        return {}
    labels = [named(one.key[0], step) for one in times]
    return {
        "Success": charts.lines(
            labels,
            {"answered or declined": [_percent(one.success_rate) for one in times]},
            lambda value: f"{value:.1f} %",
        ),
        "Predictions": charts.bars(
            labels,
            {
                "answered": [one.answered for one in times],
                "declined": [one.declined for one in times],
                "failed": [one.failed + one.cancelled + one.interrupted for one in times],
            },
            lambda value: f"{value:.0f}",
        ),
        "Time to the answer": charts.lines(
            labels,
            {name: [getattr(one, f"{name}_s") for one in times] for name in ("p50", "p95", "p99")},
            lambda value: f"{value:.3g} s",
        ),
        "Cost": charts.bars(
            labels,
            {"US dollars, where known": [one.cost_usd for one in times]},
            lambda value: f"{value:.4g}",
        ),
    }


def _group_charts(shown: Shown) -> Mapping[str, str]:
    if not shown.groups or set(shown.by) & TIMES:
        return {}
    charts = _library()
    labels = [" ".join(key(one, shown.by)) for one in shown.groups]
    by = ", ".join(one.value for one in shown.by)
    return {
        f"Success by {by}": charts.bars(
            labels,
            {"per cent": [_percent(one.success_rate) for one in shown.groups]},
            lambda value: f"{value:.1f} %",
        ),
    }


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _library() -> ModuleType:
    try:
        from ddx.adapters.report_page import charts
    except ModuleNotFoundError as error:
        raise MissingExtra("Charts need pygal: pip install 'ddx-server[analytics]'") from error
    return charts
