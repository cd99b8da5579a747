"""A compiled program as a run, and as a version in MLflow's model registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddx.adapters.mlflow_runs.evaluation import EXPERIMENT
from ddx.adapters.mlflow_runs.experiment import ensure, full_name
from ddx.adapters.mlflow_runs.library import connect, mlflow, translated

_FOLDER = "program"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramRun:
    """What is kept of a compiled program."""

    name: str
    model: str
    """Name in the registry; versions of one model stand under it."""
    at_ms: int
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    files: Sequence[Path]


def keep_program(
    tracking_uri: str, artifacts_path: str | None, folder: str, run: ProgramRun
) -> tuple[str, str]:
    """Make the run and the version; return the run's id and `name/version`.

    `artifacts_path` and `folder` are as for `ClientRuns`. The file is DSPy's own JSON and no
    pickle, so it is no MLflow flavour: `ddx` loads it, and MLflow keeps, shows and compares it.
    Raises MissingExtra, TrackerUnavailable, DeliveryRefused.
    """
    library = mlflow()
    doing = "keeping the program"
    client = connect(tracking_uri)
    experiment = ensure(client, artifacts_path, full_name(EXPERIMENT, folder))
    with translated(doing):
        made = client.create_run(
            experiment.id, start_time=run.at_ms, tags=dict(run.tags), run_name=run.name
        )
        id, status = str(made.info.run_id), "FAILED"
        try:
            entities = library.entities
            client.log_batch(
                id,
                params=[entities.Param(name, value) for name, value in run.params.items()],
                metrics=[
                    entities.Metric(name, value, run.at_ms, 0)
                    for name, value in run.metrics.items()
                ],
            )
            for file in run.files:
                client.log_artifact(id, str(file), _FOLDER)
            if not client.search_registered_models(f"name = '{run.model}'", max_results=1):
                client.create_registered_model(run.model)
            version = client.create_model_version(
                run.model,
                source=f"{made.info.artifact_uri}/{_FOLDER}",
                run_id=id,
                tags=dict(run.tags),
            )
            status = "FINISHED"
        finally:
            client.set_terminated(id, status)
    return id, f"{run.model}/{version.version}"
