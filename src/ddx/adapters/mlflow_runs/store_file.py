"""MLflow's own SQLite file, in a backup: what is taken out of a copy, and where its files are."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from ddx.adapters.mlflow_runs.erasing import ERASED_TAG, TELLING_TAGS
from ddx.adapters.mlflow_runs.form import ID_TAG
from ddx.core.partition import is_ours

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


def strip(path: Path) -> None:
    """Take out of a copy what the journal has, under its keys: every run that can be made again
    from it, and of the others the tags that lead to a patient. No byte of them is left behind.

    What people gave something to stays, with all it has: another tag, param or metric, a
    description, a model; so do the stones of erased ones, deleted ones, and those of the client
    door, whose ids are MLflow's choice.
    """
    with closing(sqlite3.connect(path)) as db:
        # Nobody reads the copy if this is cut off.
        db.executescript(
            "pragma journal_mode = off; pragma synchronous = off; pragma cache_size = -65536;"
            "pragma temp_store = memory; pragma secure_delete = off"
        )
        _drop_runs(db)
        db.execute(f"delete from tags where key in {_list(TELLING_TAGS)}", TELLING_TAGS)  # noqa: S608
        db.commit()
        db.execute("vacuum")


def _drop_runs(db: sqlite3.Connection) -> None:
    ours = _ours(db)
    db.execute("create temp table gone (run_uuid text primary key) without rowid")
    in_ours = f"r.experiment_id in {_list(ours)} and r.lifecycle_stage = 'active'"
    db.execute(
        "insert into gone select r.run_uuid from runs r join tags t on t.run_uuid = r.run_uuid"  # noqa: S608
        f" where t.key = ? and r.run_uuid = replace(t.value, '-', '') and {in_ours}",
        (ID_TAG, *ours),
    )
    for table, known in (("params", _PARAMS), ("metrics", _METRICS), ("latest_metrics", _METRICS)):
        theirs = f"select run_uuid from {table} where key not in {_list(known)}"  # noqa: S608
        db.execute(f"delete from gone where run_uuid in ({theirs})", known)  # noqa: S608
    theirs = f"key not like 'ddx.%' and key <> ? and key not in {_list(_TAGS)}"
    query = f"select run_uuid from tags where key = ? or key = ? and value not like ? or {theirs}"  # noqa: S608
    db.execute(
        f"delete from gone where run_uuid in ({query})",  # noqa: S608
        (ERASED_TAG, _NOTE, _OUR_NOTE, _NOTE, *_TAGS),
    )
    for table, column in _naming_runs(db):
        db.execute(f"delete from gone where run_uuid in (select {column} from {table})")  # noqa: S608
    db.execute(
        "create temp table stays as select run_uuid from runs"
        " where run_uuid not in (select run_uuid from gone)"
    )
    for table in (*_CONTENT, "runs"):
        # A table is emptied at once, and deleting its rows one by one would take minutes.
        db.execute(
            f"create temp table kept as select * from {table}"  # noqa: S608
            " where run_uuid in (select run_uuid from stays)"
        )
        db.execute(f"delete from {table}")  # noqa: S608
        db.execute(f"insert into {table} select * from kept")  # noqa: S608
        db.execute("drop table kept")


def _naming_runs(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return (table, column) of every other table that can name a run."""
    found = db.execute(
        "select m.name, c.name from sqlite_master m join pragma_table_info(m.name) c"
        " where m.type = 'table'"
    ).fetchall()
    return [
        (table, column)
        for table, column in found
        if column in _RUN_COLUMNS and table not in (*_CONTENT, "runs")
    ]


def _ours(db: sqlite3.Connection) -> tuple[int, ...]:
    rows = db.execute("select experiment_id, name from experiments")
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
