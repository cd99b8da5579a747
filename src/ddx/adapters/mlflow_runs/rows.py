"""A run as rows of MLflow's tables, equal to those that its own client leaves behind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ddx.adapters.mlflow_runs.form import all_tags, metric_ms, note
from ddx.core.run_draft import RunDraft

Row = dict[str, Any]
_LARGEST = 1.7976931348623157e308
"""What MLflow stores for infinity: its databases hold none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a draft goes."""

    run_id: str
    experiment_id: int
    artifact_uri: str
    draft: RunDraft
    known: bool
    """It exists, and is made equal to its draft."""


def run_row(target: Target, user: str) -> Row:
    """Return the row of the table `runs`."""
    draft = target.draft
    return {
        "run_uuid": target.run_id,
        "name": draft.prediction_id,
        # MLflow keeps these four in tags; what it still writes here for them is this.
        "source_type": "UNKNOWN",
        "source_name": "",
        "entry_point_name": "",
        "source_version": "",
        "user_id": user,
        "status": draft.status,
        "start_time": draft.start_ms,
        "end_time": draft.end_ms,
        "deleted_time": None,
        "lifecycle_stage": "active",
        "artifact_uri": target.artifact_uri,
        "experiment_id": target.experiment_id,
    }


def content_rows(targets: Sequence[Target], user: str) -> dict[str, list[Row]]:
    """Return table name -> the rows that these runs have there, besides `runs`."""
    params: list[Row] = []
    metrics: list[Row] = []
    tags: list[Row] = []
    for target in targets:
        run_id, draft = target.run_id, target.draft
        params += [
            {"run_uuid": run_id, "key": name, "value": value}
            for name, value in draft.params.items()
        ]
        metrics += [_metric(run_id, name, value, draft) for name, value in draft.metrics.items()]
        tags += [
            {"run_uuid": run_id, "key": name, "value": value}
            for name, value in all_tags(draft, user).items()
        ]
    # Each metric is logged once, so the latest value is the only one.
    return {"params": params, "metrics": metrics, "latest_metrics": metrics, "tags": tags}


def note_rows(targets: Sequence[Target], pages: str) -> list[Row]:
    """Return the rows of new runs' descriptions."""
    return [
        {"run_uuid": target.run_id, "key": name, "value": value}
        for target in targets
        for name, value in note(target.draft.prediction_id, pages).items()
    ]


def _metric(run_id: str, name: str, value: float, draft: RunDraft) -> Row:
    is_nan = math.isnan(value)
    return {
        "run_uuid": run_id,
        "key": name,
        "value": 0.0 if is_nan else max(-_LARGEST, min(_LARGEST, value)),
        "timestamp": metric_ms(draft),
        "step": 0,
        "is_nan": is_nan,
    }
