"""MLflow's own SQLite file, in a backup: what is taken out of a copy, and where its files are."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from ddx.adapters.mlflow_runs.erasing import ERASED_TAG, TELLING_TAGS
from ddx.adapters.mlflow_runs.form import ID_TAG
from ddx.core.partition import is_ours
from ddx.errors import OutputRefused

_BUSY_S = 60.0
_CONTENT = ("params", "metrics", "latest_metrics", "tags")
_RUN_COLUMNS = ("run_uuid", "run_id", "source_run_id", "destination_id", "source_id")
"""In which other tables name a run."""
_PARAMS = (
    *("model_name", "case_length", "llm_model", "llm_max_tokens", "llm_temperature", "llm_top_k"),
    "prompt_config_index",
)
_METRICS = (
    *("success", "processing_time", "input_tokens", "output_tokens", "cost_usd", "llm_time"),
    *("llm_attempts", "diagnoses"),
)
_TAGS = ("mlflow.runName", "mlflow.user", "mlflow.source.name", "mlflow.source.type")
_NOTE = "mlflow.note.content"
_OUR_NOTE = "[Case, prompt, answer and attempts](%"


def copy_kept(source: Path, to: Path) -> None:
    """Copy MLflow's file as it is at one moment, without what the journal has under its keys:
    every run that can be made again from it, and of the others the tags that lead to a patient.
    No byte of them is in the copy.

    What people gave something to is copied with all it has: another tag, param or metric, a
    description, a model; so are the stones of erased ones, deleted ones, and those of the client
    door, whose ids are MLflow's choice. Raises OutputRefused.
    """
    try:
        os.close(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(to, timeout=_BUSY_S, isolation_level=None, uri=True)) as db:
            # Nobody reads the copy if this is cut off, and its bytes are synced where they end up.
            db.executescript(
                "pragma journal_mode = off; pragma synchronous = off; pragma temp_store = memory"
            )
            db.execute("attach ? as live", (f"{source.resolve().as_uri()}?mode=ro",))
            for name in ("user_version", "application_id"):
                (value,) = db.execute(f"pragma live.{name}").fetchone()
                db.execute(f"pragma main.{name} = {int(value)}")
            # All that is read of it is of the moment of the first look.
            db.execute("begin")
            _find_kept(db)
            _copy(db)
            db.execute("commit")
    except (OSError, sqlite3.Error) as error:
        raise OutputRefused(f"{source.name} cannot be copied: {error}") from error


def _find_kept(db: sqlite3.Connection) -> None:
    """Fill the table `stays` with the runs that are kept."""
    ours = _ours(db, "live")
    db.execute("create temp table gone (run_uuid text primary key) without rowid")
    in_ours = f"r.experiment_id in {_list(ours)} and r.lifecycle_stage = 'active'"
    db.execute(
        "insert into gone select r.run_uuid from live.runs r"  # noqa: S608
        " join live.tags t on t.run_uuid = r.run_uuid"
        f" where t.key = ? and r.run_uuid = replace(t.value, '-', '') and {in_ours}",
        (ID_TAG, *ours),
    )
    for table, known in (("params", _PARAMS), ("metrics", _METRICS), ("latest_metrics", _METRICS)):
        theirs = f"select run_uuid from live.{table} where key not in {_list(known)}"  # noqa: S608
        db.execute(f"delete from gone where run_uuid in ({theirs})", known)  # noqa: S608
    theirs = f"key not like 'ddx.%' and key <> ? and key not in {_list(_TAGS)}"
    query = f"key = ? or key = ? and value not like ? or {theirs}"
    db.execute(
        f"delete from gone where run_uuid in (select run_uuid from live.tags where {query})",  # noqa: S608
        (ERASED_TAG, _NOTE, _OUR_NOTE, _NOTE, *_TAGS),
    )
    for table, column in _naming_runs(db):
        db.execute(
            f"delete from gone where run_uuid in (select {column} from live.{table})"  # noqa: S608
        )
    db.execute(
        "create temp table stays as select run_uuid from live.runs"
        " where run_uuid not in (select run_uuid from gone)"
    )


def _copy(db: sqlite3.Connection) -> None:
    """Make each table with the rows that are kept, then what stands on them."""
    made = db.execute(
        "select type, name, sql from live.sqlite_master where sql is not null"
        " and name not like 'sqlite@_%' escape '@' order by type <> 'table', rowid"
    ).fetchall()
    rest = [sql for type_, _, sql in made if type_ != "table"]
    for type_, name, sql in made:
        if type_ != "table":
            continue
        db.execute(sql)
        found = db.execute("select name from pragma_table_info(?, 'live')", (name,)).fetchall()
        columns = ", ".join(f'"{column}"' for (column,) in found)  # without those that are computed
        rows = f'select {columns} from live."{name}"'  # noqa: S608
        if name in (*_CONTENT, "runs"):
            rows += " where run_uuid in (select run_uuid from stays)"
        told = TELLING_TAGS if name == "tags" else ()
        if told:
            rows += f" and key not in {_list(told)}"
        db.execute(f'insert into main."{name}" ({columns}) {rows}', told)
    counted = "select count(*) from live.sqlite_master where name = 'sqlite_sequence'"
    if db.execute(counted).fetchone()[0]:
        db.execute("delete from main.sqlite_sequence")
        db.execute("insert into main.sqlite_sequence select * from live.sqlite_sequence")
    for sql in rest:
        db.execute(sql)


def _naming_runs(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return (table, column) of every other table that can name a run."""
    found = db.execute(
        "select m.name, c.name from live.sqlite_master m join pragma_table_info(m.name, 'live') c"
        " where m.type = 'table'"
    ).fetchall()
    return [
        (table, column)
        for table, column in found
        if column in _RUN_COLUMNS and table not in (*_CONTENT, "runs")
    ]


def _ours(db: sqlite3.Connection, schema: str = "main") -> tuple[int, ...]:
    rows = db.execute(f"select experiment_id, name from {schema}.experiments")  # noqa: S608
    return tuple(id for id, name in rows if is_ours(name))


def _list(values: tuple[object, ...]) -> str:
    return f"({', '.join('?' for _ in values)})"


def our_experiments(path: Path) -> frozenset[str]:
    """Return the ids of the experiments of predictions, the present one and those of the past."""
    with closing(sqlite3.connect(path)) as db:
        return frozenset(str(id) for id in _ours(db))


def move_files(path: Path, old: str, new: str, only: Collection[str] | None = None) -> None:
    """Say that the files below `old` are below `new`: experiments and runs name their place.

    `only`: of these experiments.
    """
    numbers = ", ".join(str(int(one)) for one in sorted(only or ()))
    among = "true" if only is None else f"experiment_id in ({numbers})"
    with closing(sqlite3.connect(path)) as db:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            # In each form in which a folder is named.
            for before, after in ((old, new), (f"file://{old}", f"file://{new}")):
                db.execute(
                    f"update {table} set {column} = ? || substr({column}, ?)"  # noqa: S608
                    f" where substr({column}, 1, ?) = ?"
                    f" and {among}",
                    (after, len(before) + 1, len(before), before),
                )
        db.commit()
