"""The experiments that the runs are in, by way of the database."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ddx.adapters.mlflow_runs.database import Database, RowsRefused
from ddx.adapters.mlflow_runs.form import ARTIFACT_URI_LIMIT, TWIN_TAG
from ddx.adapters.mlflow_runs.library import tables
from ddx.core.partition import PERIOD_TAG, is_ours, past_name
from ddx.core.run_draft import EXPERIMENT
from ddx.errors import TrackerUnavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection

_WORKSPACE = "default"
_BELOW_EXPERIMENT = len("/") + 32 + len("/artifacts")


@dataclass(frozen=True, slots=True)
class Place:
    """An experiment."""

    experiment_id: int
    artifact_location: str
    name: str
    active: bool
    month: str = ""
    """What it is for, where there is one for each month."""

    def artifact_uri(self, run_id: str) -> str:
        """Return where a run's files are, in MLflow's layout."""
        return str(tables().append_to_uri_path(self.artifact_location, run_id, "artifacts"))


@dataclass(frozen=True, slots=True)
class Places:
    """All experiments of ours, by name."""

    by_name: dict[str, Place]

    @property
    def ids(self) -> list[int]:
        """Their ids."""
        return [place.experiment_id for place in self.by_name.values()]

    def of(self, month: str = "") -> Place:
        """Return where the runs of a month go; without one, where all go."""
        now = self.by_name[EXPERIMENT]
        return now if month in ("", now.month) else self.by_name[past_name(month)]


def ensure(database: Database, artifacts_path: str, months: Collection[str] = ()) -> Places:
    """Return the experiments, made where they are missing and restored where they were deleted.

    `months` are those of runs to come, where each has an experiment: when a new one begins, the
    present experiment gets the name of its month, and a new one takes its place, in one
    transaction. Their files are in `artifacts_path`/<id>. Raises TrackerUnavailable.
    """
    with database.reading() as connection:
        places = _find(connection)
    if not _whole(places, months):
        try:
            with database.writing() as connection:
                _repair(connection, artifacts_path, months)
                places = _find(connection)
        except RowsRefused as error:
            raise TrackerUnavailable("another has just made the experiment") from error
    if not _whole(places, months):
        raise TrackerUnavailable("MLflow's database does not keep the experiment")
    if not database.is_sqlite:
        _check_length(places.by_name[EXPERIMENT])
    return places


def _find(connection: Connection) -> Places:
    t, tags = tables().experiments, tables().experiment_tags
    months = tags.select().where(tags.c.key == PERIOD_TAG).subquery()
    query = (
        t.outerjoin(months, months.c.experiment_id == t.c.experiment_id)
        .select()
        .with_only_columns(t, months.c.value.label("month"))
        .where(t.c.name.like(f"{EXPERIMENT}%"), t.c.workspace == _WORKSPACE)
    )
    return Places(
        {
            row.name: Place(
                experiment_id=row.experiment_id,
                artifact_location=row.artifact_location,
                name=row.name,
                active=row.lifecycle_stage == "active",
                month=row.month or "",
            )
            for row in connection.execute(query)
            if is_ours(row.name)
        }
    )


def _whole(places: Places, months: Collection[str]) -> bool:
    now = places.by_name.get(EXPERIMENT)
    if now is None or not all(one.active for one in places.by_name.values()):
        return False
    return all(
        month == now.month or (month < now.month and past_name(month) in places.by_name)
        for month in months
    )


def _repair(connection: Connection, artifacts_path: str, months: Collection[str]) -> None:
    places = _find(connection)
    for place in places.by_name.values():
        if not place.active:
            _restore(connection, place)
    now, newest = places.by_name.get(EXPERIMENT), max(months, default="")
    if now is None:
        _create(connection, artifacts_path, EXPERIMENT, newest)
    elif newest and not now.month:
        # It has all that came before there was one for each month.
        _set_month(connection, now.experiment_id, newest)
    elif now.month and newest > now.month:
        _rename(connection, now, places)
        _create(connection, artifacts_path, EXPERIMENT, newest)
    else:
        newest = now.month
    known = _find(connection).by_name
    for month in sorted(set(months)):
        if month < newest and past_name(month) not in known:
            _create(connection, artifacts_path, past_name(month), month)


def _rename(connection: Connection, now: Place, places: Places) -> None:
    t, name, number = tables().experiments, past_name(now.month), 1
    while name in places.by_name:  # somebody took it
        number += 1
        name = f"{past_name(now.month)}-{number}"
    connection.execute(
        t.update()
        .where(t.c.experiment_id == now.experiment_id)
        .values(name=name, last_update_time=time.time_ns() // 1_000_000)
    )


def _set_month(connection: Connection, id: int, month: str) -> None:
    row = {"experiment_id": id, "key": PERIOD_TAG, "value": month}
    connection.execute(tables().experiment_tags.insert(), [row])


def _create(connection: Connection, artifacts_path: str, name: str, month: str) -> None:
    """Create it as MLflow does: the place of its files follows from its id."""
    t, now_ms = tables().experiments, time.time_ns() // 1_000_000
    result = connection.execute(
        t.insert().values(
            name=name,
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
    if month and id is not None:
        _set_month(connection, id, month)


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
