"""The page: figures as tables, their course as charts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from ddx.core.report import TIMES, By, Difference, Failure, Figures
from ddx.core.report_text import HEAD, cells, key
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
            charts=_charts(shown),
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


def _charts(shown: Shown) -> Mapping[str, str]:
    try:
        from ddx.adapters.report_page import drawing
    except ModuleNotFoundError as error:
        raise MissingExtra("Charts need pygal: pip install 'ddx-server[analytics]'") from error
    found = dict[str, str]()
    if shown.times:
        times, step = shown.times, shown.step
        found |= {
            "Success": drawing.success(times, step),
            "Predictions": drawing.outcomes(times, step),
            "Time to the answer": drawing.latency(times, step),
            "Cost": drawing.cost(times, step),
        }
    if shown.groups and not set(shown.by) & TIMES:
        by = ", ".join(one.value for one in shown.by)
        found[f"Success by {by}"] = drawing.success_by_group(shown.groups)
    return found
