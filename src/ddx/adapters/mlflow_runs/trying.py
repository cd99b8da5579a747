"""A trial on a tracking server that somebody else runs: one small run, made and removed again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ddx.adapters.mlflow_runs.erasing import delete
from ddx.adapters.mlflow_runs.experiment import ensure, full_name
from ddx.adapters.mlflow_runs.library import connect, mlflow, repository
from ddx.adapters.mlflow_runs.looking import refusal
from ddx.core.run_draft import EXPERIMENT, VALUE_LIMIT
from ddx.errors import DdxError
from ddx.ports import Step

_NAME, _SAID = "ddx-doctor.txt", "ddx doctor"
_LONGEST = "d" * VALUE_LIMIT


class _Trial:
    """The steps, and what each came to."""

    def __init__(self, tracking_uri: str, folder: str) -> None:
        self._uri = tracking_uri
        self._name = full_name(EXPERIMENT, folder)
        self._client: Any = connect(tracking_uri)
        self._run: Any = None
        self.steps: list[Step] = []

    def take(self, did: str, step: Callable[[], None]) -> bool:
        """Take a step, note what came of it, and say whether it went well."""
        try:
            step()
        except DdxError as error:
            cause = error.__cause__ or error
            self.steps.append(Step(did=did, refused=refusal(cause)))
            return False
        except Exception as error:
            self.steps.append(Step(did=did, refused=refusal(error)))
            return False
        self.steps.append(Step(did=did))
        return True

    def create(self) -> None:
        experiment = ensure(self._client, None, self._name).id
        self._run = self._client.create_run(experiment, run_name=_SAID, tags={"ddx.doctor": "1"})

    def fill(self) -> None:
        entities, run_id = mlflow().entities, self._run.info.run_id
        self._client.log_batch(
            run_id,
            params=[entities.Param("longest", _LONGEST)],
            metrics=[entities.Metric("success", 1.0, self._run.info.start_time, 0)],
            tags=[entities.RunTag("ddx.longest", _LONGEST)],
        )
        self._client.set_terminated(run_id, "FINISHED")

    def write(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / _NAME
            file.write_text(_SAID)
            self._store().log_artifact(str(file))

    def read(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            read = Path(self._store().download_artifacts(_NAME, folder)).read_text()
        if read != _SAID:
            raise ValueError("another content")

    def remove(self) -> None:
        if not delete(self._store(), _NAME):
            raise NotImplementedError

    def delete_run(self) -> None:
        self._client.delete_run(self._run.info.run_id)

    def _store(self) -> Any:
        return repository(self._run.info.artifact_uri, self._uri)


def trial(tracking_uri: str, folder: str = "") -> list[Step]:
    """Make a run with the longest values that are sent, and a file; read it; remove both.

    What is left is a run in MLflow's bin, for MLflow deletes no run at once, and where files
    cannot be deleted two words in one. Makes the experiment where it is missing, as delivery does.
    Raises MissingExtra.
    """
    on = _Trial(tracking_uri, folder)
    if not on.take("create a run", on.create):
        return on.steps
    on.take("set params, metrics and tags", on.fill)
    if on.take("write a file", on.write):
        on.take("read it back", on.read)
        on.take("remove it", on.remove)
    on.take("delete the run", on.delete_run)
    return on.steps
