"""An evaluation as one run of an experiment of its own, through MLflow's client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddx.adapters.mlflow_runs.experiment import ensure, full_name
from ddx.adapters.mlflow_runs.library import connect, mlflow, translated

EXPERIMENT = "ddx-evaluation"
_DATASET_DIGEST = 36
"""Longest digest of a dataset that MLflow's databases take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRun:
    """What is kept of an evaluation."""

    name: str
    start_ms: int
    end_ms: int
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    set_name: str
    set_digest: str
    table: Mapping[str, Sequence[Any]]
    """The case list by columns: MLflow shows it beside those of other runs."""
    folder: Path
    """Its files, which become the run's artifacts."""


def keep_evaluation(
    tracking_uri: str, artifacts_path: str | None, folder: str, run: EvaluationRun
) -> str:
    """Make the run, whole, and return its id.

    `artifacts_path` and `folder` are as for `ClientRuns`. A run that could not be filled is left
    FAILED. Raises MissingExtra, TrackerUnavailable, DeliveryRefused.
    """
    library = mlflow()
    client = connect(tracking_uri)
    experiment = ensure(client, artifacts_path, full_name(EXPERIMENT, folder))
    with translated("keeping the evaluation"):
        made = client.create_run(
            experiment.id, start_time=run.start_ms, tags=dict(run.tags), run_name=run.name
        )
        id = str(made.info.run_id)
        status = "FAILED"
        try:
            _fill(library, client, id, run)
            status = "FINISHED"
        finally:
            client.set_terminated(id, status, run.end_ms)
    return id


def _fill(library: Any, client: Any, id: str, run: EvaluationRun) -> None:
    entities = library.entities
    client.log_batch(
        id,
        params=[entities.Param(name, value) for name, value in run.params.items()],
        metrics=[
            entities.Metric(name, value, run.end_ms, 0) for name, value in run.metrics.items()
        ],
    )
    dataset = entities.Dataset(
        name=run.set_name,
        digest=run.set_digest[:_DATASET_DIGEST],
        source_type="local",
        source=run.set_name,
    )
    client.log_inputs(id, [entities.DatasetInput(dataset=dataset, tags=[])])
    client.log_artifacts(id, str(run.folder))
    client.log_table(id, {name: list(column) for name, column in run.table.items()}, "cases.json")
