"""Runs out of MLflow's tables for an archive, and back, as they were."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ddx.adapters.mlflow_runs.bulk import BulkRuns
from ddx.adapters.mlflow_runs.client import ClientRuns
from ddx.adapters.mlflow_runs.database import Database
from ddx.adapters.mlflow_runs.insertion import insert
from ddx.adapters.mlflow_runs.library import connect, tables, translated
from ddx.core.record import PredictionId
from ddx.core.shelf import RunRows

if TYPE_CHECKING:
    from sqlalchemy import Connection

_CONTENT = ("params", "metrics", "latest_metrics", "tags")


class BulkShelving:
    """By way of the database: what is taken out is gone from it, and its room with it."""

    def __init__(self, db_uri: str, door: BulkRuns) -> None:
        self._database = Database(db_uri)
        self._door = door

    def rows(self, ids: Sequence[PredictionId]) -> Mapping[PredictionId, RunRows]:
        """Return the runs of predictions that have exactly one, whole and active."""
        found = self._door.look_for(ids)
        single = {id: seen[0] for id, seen in found.items() if len(seen) == 1}
        by_run = {seen.run_id: id for id, seen in single.items() if seen.whole}
        with self._database.reading() as connection:
            raw = _read(connection, list(by_run))
        return {by_run[run_id]: _run_rows(by_run[run_id], one) for run_id, one in raw.items()}

    def remove(self, runs: Sequence[RunRows]) -> Collection[PredictionId]:
        """Delete their rows for good, in one transaction; what is not as it was stays."""
        t, ids = tables(), [one.run_id for one in runs]
        with self._database.writing() as connection:
            # Held until the end, so that a tag that somebody adds now is not lost with it.
            lock = t.runs.select().where(t.runs.c.run_uuid.in_(ids)).with_for_update()
            connection.execute(lock).fetchall()
            now = {run_id: _dump(one) for run_id, one in _read(connection, ids).items()}
            gone = [one for one in runs if now.get(one.run_id) == one.raw]
            for name in (*_CONTENT, "runs"):
                table = getattr(t, name)
                mine = table.c.run_uuid.in_([one.run_id for one in gone])
                connection.execute(table.delete().where(mine))
        return [one.prediction_id for one in gone]

    def put_back(self, raws: Sequence[str]) -> None:
        """Insert the rows as they were, in one transaction; a run that is there is left alone.

        Of a run that the client door archived the rows are there, and softly deleted.
        """
        t = tables()
        found = [json.loads(raw) for raw in raws]
        asleep = [one["runs"][0]["run_uuid"] for one in found if not _has_rows(one)]
        found = [one for one in found if _has_rows(one)]
        ids = [one["runs"][0]["run_uuid"] for one in found]
        with self._database.writing() as connection:
            awake = {"lifecycle_stage": "active", "deleted_time": None}
            mine = t.runs.c.run_uuid.in_(asleep)
            connection.execute(t.runs.update().where(mine).values(**awake))
            query = t.runs.select().with_only_columns(t.runs.c.run_uuid)
            there = set(connection.scalars(query.where(t.runs.c.run_uuid.in_(ids))))
            for name in ("runs", *_CONTENT):
                rows = [
                    row
                    for id, one in zip(ids, found, strict=True)
                    if id not in there
                    for row in one[name]
                ]
                insert(connection, getattr(t, name), rows)

    def close(self) -> None:
        """Let go of connections."""
        self._database.close()


class ClientShelving:
    """By MLflow's client, which deletes softly: its pages show less, its tables do not shrink
    until `mlflow gc` runs there. Runs that it purges can come back from the journal alone.
    """

    def __init__(self, tracking_uri: str, door: ClientRuns) -> None:
        self._client: Any = connect(tracking_uri)
        self._door = door

    def rows(self, ids: Sequence[PredictionId]) -> Mapping[PredictionId, RunRows]:
        """Return the runs of predictions that have exactly one, whole and active."""
        found = {}
        for id, seen in self._door.look_for(ids).items():
            if len(seen) == 1 and seen[0].whole:
                found[id] = self._run(id, seen[0].run_id)
        return found

    def remove(self, runs: Sequence[RunRows]) -> Collection[PredictionId]:
        """Soft-delete them; what is not as it was stays."""
        gone = []
        for one in runs:
            if self._run(one.prediction_id, one.run_id).raw == one.raw:
                with translated("deleting a run"):
                    self._client.delete_run(one.run_id)
                gone.append(one.prediction_id)
        return gone

    def put_back(self, raws: Sequence[str]) -> None:
        """Restore them, as MLflow kept them."""
        for raw in raws:
            with translated("restoring a run"):
                self._client.restore_run(json.loads(raw)["runs"][0]["run_uuid"])

    def close(self) -> None:
        """Nothing is held."""

    def _run(self, id: PredictionId, run_id: str) -> RunRows:
        with translated("reading a run"):
            run = self._client.get_run(run_id)
        row = {
            "run_uuid": run_id,
            "status": run.info.status,
            "start_time": run.info.start_time,
            "end_time": run.info.end_time,
            "artifact_uri": run.info.artifact_uri,
        }
        pairs = {"params": run.data.params, "metrics": run.data.metrics, "tags": run.data.tags}
        raw: dict[str, list[dict[str, Any]]] = {"runs": [row], "latest_metrics": []}
        for name, values in pairs.items():
            raw[name] = [{"key": key, "value": value} for key, value in sorted(values.items())]
        return _run_rows(id, raw)


def draft_parts(raw: str) -> dict[str, Any]:
    """Return what an archived run says of itself, and where its files are."""
    one = json.loads(raw)
    run = one["runs"][0]
    return {
        "status": run["status"],
        "start_ms": run["start_time"],
        "end_ms": run["end_time"],
        "artifact_uri": run["artifact_uri"],
        **{
            name: {row["key"]: row["value"] for row in one[name]}
            for name in ("params", "metrics", "tags")
        },
    }


def _read(connection: Connection, run_ids: Sequence[str]) -> dict[str, dict[str, list[Any]]]:
    """Return run id -> table -> its rows there, in an order that is always the same."""
    t = tables()
    found: dict[str, dict[str, list[Any]]] = {}
    for name in ("runs", *_CONTENT):
        table = getattr(t, name)
        order = [table.c[column.name] for column in table.primary_key]
        query = table.select().where(table.c.run_uuid.in_(run_ids)).order_by(*order)
        for row in connection.execute(query).mappings():
            one = found.setdefault(row["run_uuid"], {each: [] for each in ("runs", *_CONTENT)})
            one[name].append(dict(row))
    return {run_id: one for run_id, one in found.items() if one["runs"]}


def _has_rows(raw: Mapping[str, Any]) -> bool:
    """Say whether these are rows of the tables, or what MLflow's client tells of them."""
    return "experiment_id" in raw["runs"][0]


def _dump(raw: Mapping[str, Any]) -> str:
    return json.dumps(raw, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _run_rows(id: PredictionId, raw: Mapping[str, list[Any]]) -> RunRows:
    text = _dump(raw)
    parts = draft_parts(text)
    return RunRows(prediction_id=id, run_id=raw["runs"][0]["run_uuid"], raw=text, **parts)
