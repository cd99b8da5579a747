"""The bulk door: complete runs, hundreds to a transaction, straight into MLflow's database."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from ddx.adapters.mlflow_runs import files
from ddx.adapters.mlflow_runs.database import TESTED_REVISIONS, Database, RowsRefused
from ddx.adapters.mlflow_runs.form import ID_TAG, TWIN_TAG, found_draft
from ddx.adapters.mlflow_runs.insertion import insert
from ddx.adapters.mlflow_runs.library import tables
from ddx.adapters.mlflow_runs.place import Place, Places, ensure
from ddx.adapters.mlflow_runs.rows import Target, content_rows, note_rows, run_row
from ddx.core import ids as core_ids
from ddx.core.partition import month_of
from ddx.core.record import PredictionId
from ddx.core.run_draft import RunDraft
from ddx.errors import DeliveryRefused, UntestedSchema
from ddx.ports import FoundRun, Seen

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

_CONTENT = ("params", "metrics", "latest_metrics", "tags")
_IDS_AT_ONCE = 500
"""In one statement: databases limit the number of its parameters."""
_UNFINISHED = ("RUNNING", "SCHEDULED")


class BulkRuns:
    """Runs by way of MLflow's database and artifact store. Not for several threads."""

    door = "bulk"
    chooses_ids = True
    batch = 500
    """A transaction of these holds SQLite's write lock for a third of a second."""

    def __init__(
        self,
        db_uri: str,
        artifacts_path: str,
        user: str,
        pages: str = "",
        *,
        monthly: bool = False,
    ) -> None:
        """`db_uri` is MLflow's, `artifacts_path` an absolute path or the URI of an object store;
        `user` is shown as the runs' user, `pages` is the address of our server, for links.
        `monthly`: an experiment for each month.
        """
        self._monthly = monthly
        self._database = Database(db_uri)
        self._artifacts_path = artifacts_path
        self._user, self._pages = user, pages

    def check(self) -> None:
        """Return where this door can be used. Raises UntestedSchema where the client door must
        be, TrackerUnavailable where the database is not there yet, MissingExtra.
        """
        tables()  # Loaded now, while MLflow starts too: the first record would wait seconds.
        revision = self._database.revision()
        if revision not in TESTED_REVISIONS:
            raise UntestedSchema(f"MLflow's schema has revision {revision}, which is untested")

    def deliver(
        self, drafts: Sequence[RunDraft], known: Mapping[PredictionId, str]
    ) -> Mapping[PredictionId, DeliveryRefused | None]:
        """Make each run whole; see ports.Runs.

        The files first, durably; then all rows in one transaction: a run that can be seen is
        whole. Repeated, the files are written again with the same bytes, and the rows are there.
        """
        months = {month_of(one.start_ms) for one in drafts} if self._monthly else set[str]()
        places = ensure(self._database, self._artifacts_path, months)
        homes = self._homes(list(known.values()))
        results: dict[PredictionId, DeliveryRefused | None] = {}
        targets: list[Target] = []
        contents: dict[str, dict[str, bytes]] = {}
        for draft in drafts:
            month = month_of(draft.start_ms) if self._monthly else ""
            target = _target(places.of(month), draft, known, homes)
            try:
                contents[target.artifact_uri] = files.encoded(draft)
            except DeliveryRefused as refusal:
                results[draft.prediction_id] = refusal
            else:
                targets.append(target)
        files.store(contents)
        self._insert(targets, results)
        self._database.tend(len(targets))
        return results

    def open(self, draft: RunDraft) -> str:
        """Not for this door: runs appear whole."""
        raise NotImplementedError

    def fill(self, run_id: str, draft: RunDraft) -> None:
        """Give a run, which another door may have begun, everything in its draft."""
        if run_id not in self._homes([run_id]):
            raise DeliveryRefused("the run was removed from MLflow")
        refusal = self.deliver([draft], {draft.prediction_id: run_id})[draft.prediction_id]
        if refusal is not None:
            raise refusal

    def look_for(self, ids: Iterable[PredictionId]) -> Mapping[PredictionId, tuple[Seen, ...]]:
        """Return the active runs tagged with each id, the one to keep first."""
        return {
            id: tuple(Seen(run_id=row.run_uuid, whole=_whole(row)) for row in rows)
            for id, rows in self._find(ids).items()
        }

    def all_ids(self) -> Iterator[PredictionId]:
        """Yield the prediction id of every active run of the experiment that has one."""
        places = ensure(self._database, self._artifacts_path)
        last = ""
        while True:
            # Page by page: a cursor kept open would keep MLflow from writing a SQLite file.
            with self._database.reading() as connection:
                query = _tagged(places).where(tables().tags.c.run_uuid > last)
                query = query.order_by(tables().tags.c.run_uuid).limit(_IDS_AT_ONCE)
                rows = connection.execute(query).fetchall()
            if not rows:
                return
            yield from (PredictionId(row.value) for row in rows)
            last = rows[-1].run_uuid

    def discard(self, run_id: str) -> None:
        """Soft-delete a late twin."""
        t, now_ms = tables(), time.time_ns() // 1_000_000
        with self._database.writing() as connection:
            mark = (t.tags.c.run_uuid == run_id) & (t.tags.c.key == TWIN_TAG)
            connection.execute(t.tags.delete().where(mark))
            connection.execute(
                t.tags.insert(), [{"run_uuid": run_id, "key": TWIN_TAG, "value": "1"}]
            )
            connection.execute(
                t.runs.update()
                .where(t.runs.c.run_uuid == run_id)
                .values(lifecycle_stage="deleted", deleted_time=now_ms)
            )

    def read(self, ids: Sequence[PredictionId]) -> Iterator[FoundRun]:
        """Read the active runs of these predictions back, with their artifacts."""
        rows = [row for found in self._find(ids).values() for row in found]
        pages = iter(rows)
        while page := list(islice(pages, _IDS_AT_ONCE)):
            content = self._content([row.run_uuid for row in page])
            for row in page:
                draft = found_draft(
                    status=row.status,
                    start_ms=row.start_time,
                    end_ms=row.end_time,
                    files=files.load(row.artifact_uri),
                    **content[row.run_uuid],
                )
                yield FoundRun(run_id=row.run_uuid, draft=draft)

    def close(self) -> None:
        """Let go of connections."""
        self._database.close()

    # --- writing ------------------------------------------------------------------------

    def _insert(
        self, targets: Sequence[Target], results: dict[PredictionId, DeliveryRefused | None]
    ) -> None:
        """Insert in one transaction; where a row is refused, halve, until it stands alone."""
        if not targets:
            return
        try:
            with self._database.writing() as connection:
                self._insert_new(connection, targets)
        except RowsRefused as error:
            if len(targets) == 1:
                refusal = DeliveryRefused(f"MLflow's database refuses a row: {error}")
                results[targets[0].draft.prediction_id] = refusal
                return
            middle = len(targets) // 2
            self._insert(targets[:middle], results)
            self._insert(targets[middle:], results)
        else:
            results.update({target.draft.prediction_id: None for target in targets})

    def _insert_new(self, connection: Connection, targets: Sequence[Target]) -> None:
        t = tables()
        there = t.runs.select().with_only_columns(t.runs.c.run_uuid, t.runs.c.lifecycle_stage)
        query = there.where(t.runs.c.run_uuid.in_([target.run_id for target in targets]))
        stages = {row.run_uuid: row.lifecycle_stage for row in connection.execute(query)}
        new = [target for target in targets if target.run_id not in stages]
        # Whoever deleted a run of ours, its record still stands in the journal.
        old = [
            one
            for one in targets
            if one.run_id in stages and (one.known or stages[one.run_id] == "deleted")
        ]
        self._remove_content(connection, old)
        insert(connection, t.runs, [run_row(target, self._user) for target in new])
        for name, rows in content_rows([*new, *old], self._user).items():
            insert(connection, getattr(t, name), rows)
        insert(connection, t.tags, note_rows(new, self._pages))

    def _remove_content(self, connection: Connection, targets: Sequence[Target]) -> None:
        """Make room for what these runs must hold; tags of people stay."""
        if not targets:
            return
        t = tables()
        for target in targets:
            values = run_row(target, self._user)
            run = t.runs.c.run_uuid == values.pop("run_uuid")
            connection.execute(t.runs.update().where(run).values(**values))
        for name, rows in content_rows(targets, self._user).items():
            column = getattr(t, name).c
            keys = {row["key"] for row in rows} | {TWIN_TAG}
            mine = column.run_uuid.in_([target.run_id for target in targets])
            connection.execute(getattr(t, name).delete().where(mine, column.key.in_(keys)))

    # --- reading ------------------------------------------------------------------------

    def _homes(self, run_ids: Sequence[str]) -> dict[str, tuple[int, str]]:
        """Return the experiment of these active runs, and where their files are; what was removed
        is left out.
        """
        homes: dict[str, tuple[int, str]] = {}
        if run_ids:
            t = tables().runs
            with self._database.reading() as connection:
                query = t.select().where(t.c.run_uuid.in_(run_ids), t.c.lifecycle_stage == "active")
                homes = {
                    row.run_uuid: (row.experiment_id, row.artifact_uri)
                    for row in connection.execute(query)
                }
        return homes

    def _find(self, ids: Iterable[PredictionId]) -> dict[PredictionId, list[Row[Any]]]:
        places = ensure(self._database, self._artifacts_path)
        found: dict[PredictionId, list[Row[Any]]] = {id: [] for id in ids}
        waiting = iter(list(found))
        while some := list(islice(waiting, _IDS_AT_ONCE)):
            with self._database.reading() as connection:
                query = _tagged(places).where(tables().tags.c.value.in_(some))
                for row in connection.execute(query):
                    # MySQL compares without regard to case.
                    found.get(PredictionId(row.value), []).append(row)
        for rows in found.values():
            rows.sort(key=lambda row: (not _whole(row), row.run_uuid))
        return {id: rows for id, rows in found.items() if rows}

    def _content(self, run_ids: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
        """Return run id -> params, metrics and tags."""
        t = tables()
        content: dict[str, dict[str, dict[str, Any]]] = {
            run_id: {"params": {}, "metrics": {}, "tags": {}} for run_id in run_ids
        }
        sources = {"params": t.params, "metrics": t.latest_metrics, "tags": t.tags}
        with self._database.reading() as connection:
            for name, table in sources.items():
                query = table.select().where(table.c.run_uuid.in_(run_ids))
                for row in connection.execute(query):
                    is_nan = name == "metrics" and row.is_nan
                    content[row.run_uuid][name][row.key] = float("nan") if is_nan else row.value
        return content


def _target(
    place: Place,
    draft: RunDraft,
    known: Mapping[PredictionId, str],
    homes: Mapping[str, tuple[int, str]],
) -> Target:
    run_id = known.get(draft.prediction_id, core_ids.run_id(draft.prediction_id))
    # A run that is there stays where it is: its experiment may have been the only one then.
    experiment_id, artifact_uri = homes.get(run_id) or (
        place.experiment_id,
        place.artifact_uri(run_id),
    )
    return Target(
        run_id=run_id,
        known=draft.prediction_id in known,
        experiment_id=experiment_id,
        artifact_uri=artifact_uri,
        draft=draft,
    )


def _tagged(places: Places) -> Any:
    """Return a query of the active runs with a prediction id: their columns, and it as `value`."""
    t = tables()
    return (
        t.runs.join(t.tags, t.tags.c.run_uuid == t.runs.c.run_uuid)
        .select()
        .with_only_columns(t.runs, t.tags.c.value)
        .where(
            t.tags.c.key == ID_TAG,
            t.runs.c.lifecycle_stage == "active",
            t.runs.c.experiment_id.in_(places.ids),
        )
    )


def _whole(row: Any) -> bool:
    return row.status not in _UNFINISHED
