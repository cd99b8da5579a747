"""Takes from MLflow what it holds of a patient; the run stays, as a stone with its figures."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from ddx.adapters.mlflow_runs.experiment import ours
from ddx.adapters.mlflow_runs.files import local_path, remove_all
from ddx.adapters.mlflow_runs.form import ID_TAG
from ddx.adapters.mlflow_runs.library import connect, repository, translated
from ddx.core.record import PredictionId

ERASED_TAG = "ddx.erased"
TELLING_TAGS = ("ddx.tracker", "ddx.true_diagnosis", "ddx.true_code", "ddx.feedback_reason")
"""Tags that lead to a patient, or are about one."""
_NOTE = "mlflow.note.content"
_ANY_STAGE = 3  # ViewType.ALL
_UNKNOWN = frozenset({"ENDPOINT_NOT_FOUND", "NOT_FOUND", "NOT_IMPLEMENTED"})
_EMPTIED = "MLflow's client cannot delete files there: each is there still, and empty."


class MlflowEraser:
    """A RunEraser by MLflow's own client, on a server or on its store."""

    def __init__(self, tracking_uri: str, folder: str = "") -> None:
        """`folder` is that of the experiments. Loads MLflow, in seconds. Raises MissingExtra."""
        self._client: Any = connect(tracking_uri)
        self._tracking_uri = tracking_uri
        self._folder = folder
        self.remains: list[str] = [
            "MLflow's run keeps its name, params and metrics, and the tag ddx.erased.",
            "An object store that keeps versions keeps deleted files: remove them there.",
        ]

    def erase(self, id: PredictionId, at: datetime) -> dict[str, int]:
        """Remove files, telling tags and the trace of every run of a prediction."""
        with translated("erasing a run"):
            ids = [one.experiment_id for one in ours(self._client, self._folder, deleted=True)]
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
        removed = self.remove_files(run.info.artifact_uri)
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
        try:
            found = self._client.search_traces(
                locations=[experiment_id], filter_string=f"tags.`{ID_TAG}` = '{id}'"
            )
        except Exception as error:
            if getattr(error, "error_code", None) in _UNKNOWN:
                return 0  # a server without traces has none to erase
            raise
        ids = [trace.info.trace_id for trace in found]
        return int(self._client.delete_traces(experiment_id, trace_ids=ids)) if ids else 0

    def remove_files(self, uri: str) -> int:
        """Delete a run's files; return how many there were."""
        folder = local_path(uri)
        if folder is not None:
            return remove_all(folder)
        store = repository(uri, self._tracking_uri)
        found = [one.path for one in store.list_artifacts()]
        for name in found:
            if not delete(store, name):
                _empty(store, name)
                if _EMPTIED not in self.remains:
                    self.remains.append(_EMPTIED)
        return len(found)


def delete(store: Any, name: str) -> bool:
    """Delete a file of a run; return whether it is gone.

    Of MLflow's ways to files some refuse to delete, and one does nothing and says nothing.
    """
    try:
        store.delete_artifacts(name)
    except NotImplementedError:
        return False
    except Exception as error:
        # MLflow has no code of its own for it.
        if type(error).__name__ == "MlflowException" and "Not implemented" in str(error):
            return False
        raise
    return name not in {one.path for one in store.list_artifacts()}


def _empty(store: Any, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.touch()
        store.log_artifact(str(file))
