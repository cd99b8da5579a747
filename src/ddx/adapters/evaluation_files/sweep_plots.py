"""Plots of a sweep, as PNG files: a line for each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ddx.adapters.evaluation_files.plots import COLOURS, FOLDER, matplotlib, quiet
from ddx.core.ranking import Estimate
from ddx.core.summary import TOPS
from ddx.core.sweep import Measured

_WIDTH_IN, _CELL_IN, _FRAME_IN, _MOST_IN = 7.0, 0.42, 1.1, 24.0


def draw_sweep(folder: Path, cells: Sequence[Measured]) -> list[Path]:
    """Write the plots, and return them in the order of reading. Raises MissingExtra."""
    Figure, Canvas = matplotlib()  # noqa: N806  (they are classes)
    (folder / FOLDER).mkdir(exist_ok=True)
    height_in = min(_MOST_IN, _FRAME_IN + _CELL_IN * len(cells))
    made: list[Path] = []

    def figure(panels: int) -> tuple[Any, list[Any]]:
        found = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
        Canvas(found)
        axes = list(found.subplots(1, panels, sharey=True, squeeze=False)[0])
        # The first cell stands above, as in the tables.
        axes[0].set_yticks(range(len(cells)), [one.label for one in cells], fontsize=8)
        axes[0].set_ylim(len(cells) - 0.5, -0.5)
        return found, axes

    def save(name: str, found: Any) -> None:
        path = folder / FOLDER / f"{name}.png"
        found.savefig(path, dpi=110)
        made.append(path)

    found, (axes,) = figure(1)
    _dots(
        axes,
        {f"top-{k}": [one.summary.all.tops[k] for one in cells] for k in TOPS},
        "cases with the truth listed, % (95 % intervals)",
    )
    axes.set_title("How often the truth is listed", loc="left", fontsize=10)
    save("accuracy", found)
    if any(one.stability for one in cells):
        found, (axes,) = figure(1)
        alike = {
            "first diagnosis": [one.stability.first if one.stability else None for one in cells],
            "first five": [one.stability.overlap if one.stability else None for one in cells],
        }
        _dots(axes, alike, "the same in two answers to one case, % (95 % intervals)")
        axes.set_title("Stability between repeats", loc="left", fontsize=10)
        save("stability", found)
    found, (times, costs) = figure(2)
    _times(times, cells)
    _costs(costs, cells)
    save("time_and_cost", found)
    return made


def _dots(axes: Any, series: Mapping[str, Sequence[Estimate | None]], title: str) -> None:
    step = 0.7 / len(series)
    for place, ((name, values), colour) in enumerate(zip(series.items(), COLOURS, strict=False)):
        known = [(y, one) for y, one in enumerate(values) if one is not None]
        axes.errorbar(
            [100 * one.value for _, one in known],
            [y + (place + 0.5) * step - 0.35 for y, _ in known],
            xerr=[
                [100 * (one.value - one.low) for _, one in known],
                [100 * (one.high - one.value) for _, one in known],
            ],
            fmt="o",
            ms=4,
            lw=1,
            capsize=2,
            color=colour,
            label=name,
        )
    axes.set_xlim(-2, 102)
    axes.set_xlabel(title, fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    quiet(axes, "x")


def _times(axes: Any, cells: Sequence[Measured]) -> None:
    known = [
        (y, one.summary.cost.p50_s, one.summary.cost.p95_s)
        for y, one in enumerate(cells)
        if one.summary.cost.p50_s and one.summary.cost.p95_s
    ]
    axes.hlines([y for y, *_ in known], [a for _, a, _ in known], [b for *_, b in known], lw=1)
    for label, marker, points in (
        ("p50", "o", [(a, y) for y, a, _ in known]),
        ("p95", "|", [(b, y) for y, _, b in known]),
    ):
        axes.plot(*zip(*points, strict=True), marker, color=COLOURS[0], label=label)
    # From milliseconds of the knowledge engine to minutes of a small machine's LLM.
    axes.set_xscale("log")
    axes.set_xlabel("seconds for a case", fontsize=8)
    axes.set_title("Latency", loc="left", fontsize=10)
    axes.legend(fontsize=7, frameon=False)
    quiet(axes, "x")


def _costs(axes: Any, cells: Sequence[Measured]) -> None:
    for y, one in enumerate(cells):
        usd = one.summary.cost.usd
        axes.barh(y, usd or 0.0, 0.5, color=COLOURS[1])
        said = "unknown" if usd is None else f"{usd:.2g}" if usd else "0"
        axes.annotate(
            said,
            (usd or 0.0, y),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=7,
            va="center",
        )
    axes.set_xlim(left=0)
    if not any(one.summary.cost.usd for one in cells):
        axes.set_xlim(0, 1)
        axes.set_xticks([0])
    axes.set_xlabel("US dollars for all its answers", fontsize=8)
    axes.set_title("Cost", loc="left", fontsize=10)
    quiet(axes, "x")
