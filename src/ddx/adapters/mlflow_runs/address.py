"""Where a person looks at a run: the address of its page, asked of MLflow's server itself.

Over its REST interface, so that the server that answers requests need not load MLflow.
"""

from __future__ import annotations

import os
import urllib.error
from typing import Any

from ddx.adapters.mlflow_runs.experiment import full_name
from ddx.adapters.mlflow_runs.rest import ask, basic
from ddx.core.partition import is_ours
from ddx.core.record import PredictionId
from ddx.core.run_draft import EXPERIMENT
from ddx.errors import TrackerUnavailable


def run_page(tracking_uri: str, id: PredictionId, folder: str = "") -> str | None:
    """Return the address of a prediction's run in MLflow's pages; None where it has none yet.

    Raises TrackerUnavailable.
    """
    api = f"{tracking_uri.rstrip('/')}/api/2.0/mlflow"
    try:
        asked = {"filter": f"name LIKE '{full_name(EXPERIMENT, folder)}%'", "max_results": 1000}
        experiments = _asked(f"{api}/experiments/search", asked).get("experiments", [])
        ids = [one["experiment_id"] for one in experiments if is_ours(one["name"], folder)]
        if not ids:
            return None
        found = _asked(
            f"{api}/runs/search",
            {
                "experiment_ids": ids,
                "filter": f"tags.`ddx.prediction_id` = '{id}'",
                "max_results": 1,
            },
        )
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise TrackerUnavailable(f"MLflow answers {error.code} when asked for a run") from None
    except (OSError, ValueError, KeyError) as error:
        kind = type(error).__name__
        raise TrackerUnavailable(f"MLflow does not say where the run is ({kind})") from None
    runs = found.get("runs", [])
    if not runs:
        return None
    run = runs[0]["info"]
    page = f"#/experiments/{run['experiment_id']}/runs/{run['run_id']}"
    return f"{tracking_uri.rstrip('/')}/{page}"


def _asked(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask as MLflow's own client would, by the variables that it reads."""
    ca = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
    return ask(url, body, authorization=_authorization(), ca=ca)


def _authorization() -> str | None:
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    if token:
        return f"Bearer {token}"
    user, word = (os.environ.get(f"MLFLOW_TRACKING_{one}") for one in ("USERNAME", "PASSWORD"))
    return basic(user, word) if user and word else None
