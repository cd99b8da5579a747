"""Plots of an evaluation, as PNG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ddx.core.calibration import Calibration
from ddx.core.evaluation import Row
from ddx.core.peers import PublishedRow
from ddx.core.summary import TOPS, Figures, Summary
from ddx.errors import MissingExtra

FOLDER = "plots"
COLOURS = ("#1f5f8b", "#d1702c", "#4c9f70", "#8a5fa3", "#b0413e", "#6b7280")
_MOST_STRATA, _MOST_PEERS = 4, 6


def draw(
    folder: Path, summary: Summary, rows: Sequence[Row], published: Sequence[PublishedRow], top: int
) -> list[Path]:
    """Write the plots, and return them in the order of reading. Raises MissingExtra."""
    Figure, Canvas = matplotlib()  # noqa: N806  (they are classes)
    (folder / FOLDER).mkdir(exist_ok=True)
    made: list[Path] = []

    def save(name: str, paint: Any, *values: Any) -> None:
        # Without pyplot: no state, and no display is looked for.
        figure = Figure(figsize=(7, 4), layout="constrained")
        Canvas(figure)
        paint(figure.add_subplot(), *values)
        path = folder / FOLDER / f"{name}.png"
        figure.savefig(path, dpi=130)
        made.append(path)

    strata = {"all": summary.all, **summary.strata}
    plain = {name: found for name, found in strata.items() if not name.endswith("macro")}
    save("top_k", _top_k, dict(list(plain.items())[:_MOST_STRATA]), published[:_MOST_PEERS])
    save("ranks", _ranks, rows, top)
    if summary.calibration is not None:
        save("calibration", _calibration, summary.calibration)
    return made


def _top_k(axes: Any, strata: Mapping[str, Figures], published: Sequence[PublishedRow]) -> None:
    width = 0.8 / len(strata)
    for place, (name, found) in enumerate(strata.items()):
        at = [spot + (place + 0.5) * width - 0.4 for spot in range(len(TOPS))]
        values = [found.tops[k] for k in TOPS]
        axes.bar(
            at,
            [100 * one.value for one in values],
            width * 0.92,
            yerr=[
                [100 * (one.value - one.low) for one in values],
                [100 * (one.high - one.value) for one in values],
            ],
            color=COLOURS[place],
            ecolor="#374151",
            capsize=2,
            label=f"{name} (n {found.n})",
        )
    markers = "D^sovx"
    for row, marker in zip(published, markers, strict=False):
        known = [(spot, getattr(row, f"top_{k}")) for spot, k in enumerate(TOPS)]
        points = [(spot, value) for spot, value in known if value is not None]
        axes.plot(*zip(*points, strict=True), marker, color="#111827", ms=4, label=row.method)
    axes.set_xticks(range(len(TOPS)), [f"top-{k}" for k in TOPS])
    axes.set_ylabel("cases with the truth listed, %")
    axes.set_ylim(0, 100)
    axes.set_title("How often the truth is listed (95 % intervals)", loc="left")
    axes.legend(fontsize=7, ncols=2, frameon=False)
    quiet(axes)


def _ranks(axes: Any, rows: Sequence[Row], top: int) -> None:
    places = range(1, top + 1)
    for label, colour, ranks in (
        ("the truth itself", COLOURS[0], [row.grade.rank for row in rows]),
        ("with its group", COLOURS[1], [row.grade.rank_grouping for row in rows]),
    ):
        shares = [
            100 * sum(rank is not None and rank <= place for rank in ranks) / max(1, len(ranks))
            for place in places
        ]
        axes.plot(places, shares, "o-", color=colour, ms=4, label=label)
    axes.set_xticks(list(places) if top <= 20 else range(0, top + 1, 5))
    axes.set_xlabel("length of the list")
    axes.set_ylabel("truth listed, %")
    axes.set_ylim(0, 100)
    axes.set_title("What a longer list adds", loc="left")
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    quiet(axes)


def _calibration(axes: Any, found: Calibration) -> None:
    bins = [one for one in found.bins if one.n]
    axes.plot([0, 1], [0, 1], "--", color="#9ca3af", lw=1, label="as stated")
    axes.plot(
        [one.stated for one in bins],
        [one.true for one in bins],
        "o-",
        color=COLOURS[0],
        label="as it came true",
    )
    for one in bins:
        axes.annotate(
            str(one.n),
            (one.stated, one.true),
            xytext=(5, -10),
            textcoords="offset points",
            fontsize=7,
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("stated probability of the first diagnosis")
    axes.set_ylabel("share that was right")
    axes.set_title(f"Calibration (error {found.error:.3f}, n at each point)", loc="left")
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    quiet(axes)


def matplotlib() -> tuple[Any, Any]:
    """Return its Figure and its canvas for files. Raises MissingExtra."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtra("plots need matplotlib: pip install 'ddx-server[evaluate]'") from error
    return Figure, FigureCanvasAgg


def quiet(axes: Any, grid: str = "y") -> None:
    """Leave away what says nothing; keep the grid of one axis."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#e5e7eb", lw=0.8)
    axes.set_axisbelow(True)
