"""What the dashboard is made of, from settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from ddx.core.moves import Move, moves
from ddx.core.overview import Overview
from ddx.core.record import Prediction, PredictionId
from ddx.errors import DdxError, MissingExtra
from ddx.services.overview import Overviews
from ddx.settings import Settings
from ddx.wiring import mlflow_login, reporting
from ddx.wiring.replaying import find

__all__ = ["CHARTS", "chart", "find", "looks", "moved", "run_page"]

CHARTS = {
    "success": "Success",
    "outcomes": "Predictions by outcome",
    "usage": "Predictions by model",
    "latency": "Time to the answer",
    "stages": "Where the median time went",
    "cost": "Cost",
}
"""Over time: name -> title."""
_BY_GROUP = frozenset({"errors", "settings-success", "settings-latency"})


def looks(settings: Settings) -> Overviews:
    """Return what answers the dashboard's looks. Raises MissingExtra."""
    return Overviews(reporting.books(settings), time.monotonic)


def warm(settings: Settings) -> None:
    """Load what answers looks, where it is installed, so that the first look need not wait."""
    with suppress(DdxError):
        reporting.books(settings).choices()


def chart(name: str, found: Overview, *, narrow: bool = False) -> str | None:
    """Return a chart of a look as SVG, None where there is no such chart.

    `narrow` is for telephones. Raises MissingExtra.
    """
    if name not in CHARTS and name not in _BY_GROUP:
        return None
    try:
        from ddx.adapters.report_page import charts, drawing
    except ModuleNotFoundError as error:
        raise MissingExtra("Charts need pygal: pip install 'ddx-server[analytics]'") from error
    draw: dict[str, Callable[[], str]] = {
        "success": lambda: drawing.success(found.times, found.step),
        "outcomes": lambda: drawing.outcomes(found.times, found.step),
        "usage": lambda: drawing.usage(found.usage, found.times, found.step),
        "latency": lambda: drawing.latency(found.times, found.step),
        "stages": lambda: drawing.stages(found.times, found.step),
        "cost": lambda: drawing.cost(found.times, found.step),
        "errors": lambda: drawing.errors(found.errors),
        "settings-success": lambda: drawing.success_by_group(found.settings),
        "settings-latency": lambda: drawing.latency_by_group(found.settings),
    }
    with charts.narrow(wanted=narrow):
        return draw[name]()


def run_page(settings: Settings, id: PredictionId) -> str | None:
    """Return the address of a prediction's run in MLflow's pages; None where it has none yet.

    Raises TrackerUnavailable.
    """
    if urlsplit(settings.mlflow_uri).scheme not in ("http", "https"):
        return None
    mlflow_login.come_in(settings)
    from ddx.adapters.mlflow_runs.address import run_page as asked

    return asked(settings.mlflow_uri, id, settings.experiments_in)


def moved(before: Prediction, after: Prediction) -> Sequence[Move]:
    """Return how each diagnosis moved between two rankings of one case."""
    from ddx.adapters.knowledge.names import name_key

    if before.outcome is None or after.outcome is None:
        return ()
    return moves(before.outcome, after.outcome, name_key)
