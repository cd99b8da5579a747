"""MLflow's own sums over the runs of predictions, one page after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ddx.adapters.mlflow_runs.experiment import ours
from ddx.adapters.mlflow_runs.library import connect, translated
from ddx.core.record import PredictionId

_PAGE = 1000
_METRICS = ("success", "input_tokens", "output_tokens", "cost_usd")


def sums(
    tracking_uri: str,
    _artifacts_path: str | None = None,
    folder: str = "",
    archived: Mapping[PredictionId, Mapping[str, float]] | None = None,
) -> dict[str, float]:
    """Return how many runs there are, and the sums of their metrics.

    `archived` has the figures of archived runs, by prediction id; one that is back counts once.
    MLflow has no aggregates: every run is fetched, about a second for each thousand. Raises
    MissingExtra, TrackerUnavailable, DeliveryRefused.
    """
    away = dict(archived or {})
    found: dict[str, float] = dict.fromkeys(("runs", *_METRICS), 0)
    with translated("adding up its runs"):
        client: Any = connect(tracking_uri)
        ids = [one.experiment_id for one in ours(client, folder)]
        token: str | None = ""
        while ids and token is not None:
            page = client.search_runs(ids, max_results=_PAGE, page_token=token or None)
            for run in page:
                if "ddx.prediction_id" in run.data.tags:
                    found["runs"] += 1
                    away.pop(PredictionId(run.data.tags["ddx.prediction_id"]), None)
                    for name in _METRICS:
                        found[name] += run.data.metrics.get(name, 0)
            token = page.token or None
    for figures in away.values():
        found["runs"] += 1
        for name in _METRICS:
            found[name] += figures.get(name, 0)
    return found
