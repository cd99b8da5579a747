"""A sweep as a parent run, whose cells are evaluations: its child runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddx.adapters.mlflow_runs.evaluation import EXPERIMENT
from ddx.adapters.mlflow_runs.experiment import ensure, full_name
from ddx.adapters.mlflow_runs.library import connect, mlflow, translated

PARENT_TAG = "mlflow.parentRunId"
"""MLflow's own: its list of runs folds children under their parent."""
CELL_TAG = "ddx.sweep_cell"
_DOING = "keeping the sweep"
_MOST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRun:
    """What the parent run says from its beginning."""

    name: str
    start_ms: int
    params: Mapping[str, str]
    tags: Mapping[str, str]


class SweepRuns:
    """Parent runs in one MLflow. Each call raises TrackerUnavailable, DeliveryRefused."""

    def __init__(self, tracking_uri: str, artifacts_path: str | None, folder: str) -> None:
        """`artifacts_path` and `folder` are as for `ClientRuns`. Raises MissingExtra."""
        self._client: Any = connect(tracking_uri)
        name = full_name(EXPERIMENT, folder)
        self._experiment = ensure(self._client, artifacts_path, name).id

    def begin(self, run: SweepRun, earlier: str | None = None) -> str:
        """Return the id of a running parent: the `earlier` one where it is still there."""
        with translated(_DOING):
            if earlier is not None and earlier in self._found(f"attributes.run_id = '{earlier}'"):
                self._client.update_run(earlier, status="RUNNING")
                return earlier
            made = self._client.create_run(
                self._experiment,
                start_time=run.start_ms,
                tags=dict(run.tags),
                run_name=run.name,
            )
            id = str(made.info.run_id)
            param = mlflow().entities.Param
            self._client.log_batch(
                id, params=[param(name, value) for name, value in run.params.items()]
            )
            return id

    def children(self, parent: str) -> dict[str, str]:
        """Return cell -> run, of the runs that are whole; delete what a stop left half-made."""
        with translated(_DOING):
            found: dict[str, str] = {}
            for id, run in self._found(f"tags.`{PARENT_TAG}` = '{parent}'").items():
                cell = run.data.tags.get(CELL_TAG, "")
                if run.info.status == "FINISHED" and cell not in found:
                    found[cell] = id
                else:
                    self._client.delete_run(id)
            return found

    def discard(self, id: str) -> None:
        """Delete a cell's run whose answers are no longer the last."""
        with translated(_DOING):
            self._client.delete_run(id)

    def end(
        self,
        id: str,
        status: str,
        end_ms: int,
        metrics: Mapping[str, float],
        files: Sequence[tuple[Path, str | None]],
    ) -> None:
        """Give the parent its figures and files (path, folder of the run), and end it."""
        metric = mlflow().entities.Metric
        with translated(_DOING):
            self._client.log_batch(
                id, metrics=[metric(name, value, end_ms, 0) for name, value in metrics.items()]
            )
            for path, folder in files:
                self._client.log_artifact(id, str(path), folder)
            self._client.set_terminated(id, status, end_ms)

    def _found(self, question: str) -> dict[str, Any]:
        runs = self._client.search_runs([self._experiment], question, max_results=_MOST)
        return {str(run.info.run_id): run for run in runs}
