"""The experiment that all runs are in, by way of the database."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ddx.adapters.mlflow_runs.database import Database, RowsRefused
from ddx.adapters.mlflow_runs.form import ARTIFACT_URI_LIMIT, TWIN_TAG
from ddx.adapters.mlflow_runs.library import tables
from ddx.core.run_draft import EXPERIMENT
from ddx.errors import TrackerUnavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection

_WORKSPACE = "default"
_BELOW_EXPERIMENT = len("/") + 32 + len("/artifacts")


@dataclass(frozen=True, slots=True)
class Place:
    """The experiment."""

    experiment_id: int
    artifact_location: str

    def artifact_uri(self, run_id: str) -> str:
        """Return where a run's files are, in MLflow's layout."""
        return str(tables().append_to_uri_path(self.artifact_location, run_id, "artifacts"))


def ensure(database: Database, artifacts_path: str) -> Place:
    """Return the experiment, made where it is missing and restored where it was deleted.

    Its files are in `artifacts_path`/<its id>. Raises TrackerUnavailable.
    """
    with database.reading() as connection:
        place, active = _find(connection)
    if place is None or not active:
        try:
            with database.writing() as connection:
                _repair(connection, artifacts_path)
                place, _ = _find(connection)
        except RowsRefused as error:
            raise TrackerUnavailable("another has just made the experiment") from error
    if place is None:
        raise TrackerUnavailable("MLflow's database does not keep the experiment")
    if not database.is_sqlite:
        _check_length(place)
    return place


def _find(connection: Connection) -> tuple[Place | None, bool]:
    t = tables().experiments
    row = connection.execute(
        t.select().where(t.c.name == EXPERIMENT, t.c.workspace == _WORKSPACE)
    ).fetchone()
    if row is None:
        return None, False
    return Place(row.experiment_id, row.artifact_location), row.lifecycle_stage == "active"


def _repair(connection: Connection, artifacts_path: str) -> None:
    place, active = _find(connection)
    if place is None:
        _create(connection, artifacts_path)
    elif not active:
        _restore(connection, place)


def _create(connection: Connection, artifacts_path: str) -> None:
    """Create it as MLflow does: the place of its files follows from its id."""
    t, now_ms = tables().experiments, time.time_ns() // 1_000_000
    result = connection.execute(
        t.insert().values(
            name=EXPERIMENT,
            workspace=_WORKSPACE,
            artifact_location="",
            lifecycle_stage="active",
            creation_time=now_ms,
            last_update_time=now_ms,
        )
    )
    key = result.inserted_primary_key
    id = key[0] if key else None
    location = tables().append_to_uri_path(artifacts_path, str(id))
    connection.execute(t.update().where(t.c.experiment_id == id).values(artifact_location=location))


def _restore(connection: Connection, place: Place) -> None:
    """Restore it and its runs, as MLflow does, except for discarded twins."""
    t, now_ms = tables(), time.time_ns() // 1_000_000
    connection.execute(
        t.experiments.update()
        .where(t.experiments.c.experiment_id == place.experiment_id)
        .values(lifecycle_stage="active", last_update_time=now_ms)
    )
    twins = t.tags.select().with_only_columns(t.tags.c.run_uuid).where(t.tags.c.key == TWIN_TAG)
    connection.execute(
        t.runs.update()
        .where(t.runs.c.experiment_id == place.experiment_id, t.runs.c.run_uuid.not_in(twins))
        .values(lifecycle_stage="active", deleted_time=None)
    )


def _check_length(place: Place) -> None:
    longest = ARTIFACT_URI_LIMIT - _BELOW_EXPERIMENT
    if len(place.artifact_location) > longest:
        raise TrackerUnavailable(
            f"artifacts_path is too long for MLflow's database: {len(place.artifact_location)}"
            f" characters with the experiment's id, where {longest} are possible"
        )
