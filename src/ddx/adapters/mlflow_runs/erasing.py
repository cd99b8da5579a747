"""Takes from MLflow what it holds of a patient; the run stays, as a stone with its figures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ddx.adapters.mlflow_runs.experiment import ours
from ddx.adapters.mlflow_runs.files import local_path, remove_all
from ddx.adapters.mlflow_runs.form import ID_TAG
from ddx.adapters.mlflow_runs.library import mlflow, translated
from ddx.core.record import PredictionId

ERASED_TAG = "ddx.erased"
TELLING_TAGS = ("ddx.tracker", "ddx.true_diagnosis", "ddx.true_code", "ddx.feedback_reason")
"""Tags that lead to a patient, or are about one."""
_NOTE = "mlflow.note.content"
_ANY_STAGE = 3  # ViewType.ALL


class MlflowEraser:
    """A RunEraser by MLflow's own client, on a server or on its store."""

    def __init__(self, tracking_uri: str) -> None:
        """Loads MLflow, in seconds. Raises MissingExtra."""
        self._client: Any = mlflow().MlflowClient(tracking_uri)
        self._tracking_uri = tracking_uri
        self.remains: Sequence[str] = (
            "MLflow's run keeps its name, params and metrics, and the tag ddx.erased.",
            "An object store that keeps versions keeps deleted files: remove them there.",
        )

    def erase(self, id: PredictionId, at: datetime) -> dict[str, int]:
        """Remove files, telling tags and the trace of every run of a prediction."""
        with translated("erasing a run"):
            ids = [one.experiment_id for one in ours(self._client, deleted=True)]
            if not ids:
                return {"runs": 0, "files": 0, "traces": 0}
            runs = self._client.search_runs(
                ids, f"tags.`{ID_TAG}` = '{id}'", run_view_type=_ANY_STAGE
            )
            files = sum(self._strip(run, at) for run in runs)
            return {
                "runs": len(runs),
                "files": files,
                "traces": sum(self._traces(one, id) for one in ids),
            }

    def _strip(self, run: Any, at: datetime) -> int:
        run_id, tags = run.info.run_id, run.data.tags
        removed = remove_files(run.info.artifact_uri, self._tracking_uri)
        deleted = run.info.lifecycle_stage == "deleted"
        if deleted:  # its tags cannot be changed as it is
            self._client.restore_run(run_id)
        for name in (*TELLING_TAGS, _NOTE):
            if name in tags:
                self._client.delete_tag(run_id, name)
        self._client.set_tag(run_id, ERASED_TAG, at.isoformat())
        if deleted:
            self._client.delete_run(run_id)
        return removed

    def _traces(self, experiment_id: str, id: PredictionId) -> int:
        found = self._client.search_traces(
            locations=[experiment_id], filter_string=f"tags.`{ID_TAG}` = '{id}'"
        )
        ids = [trace.info.trace_id for trace in found]
        return int(self._client.delete_traces(experiment_id, trace_ids=ids)) if ids else 0


def remove_files(uri: str, tracking_uri: str) -> int:
    """Delete a run's files; return how many there were."""
    folder = local_path(uri)
    if folder is not None:
        return remove_all(folder)
    repository = mlflow().get_artifact_repository(uri, tracking_uri)
    found = [one.path for one in repository.list_artifacts()]
    for name in found:
        repository.delete_artifacts(name)
    return len(found)
