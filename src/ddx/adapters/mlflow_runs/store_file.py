"""MLflow's own SQLite file, in a backup: what is taken out of a copy, and where its files are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ddx.adapters.mlflow_runs.erasing import TELLING_TAGS
from ddx.core.run_draft import EXPERIMENT


def strip(path: Path) -> None:
    """Take out of a copy the tags that lead to a patient: the journal has them, under its keys."""
    marks = ", ".join("?" for _ in TELLING_TAGS)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"delete from tags where key in ({marks})", TELLING_TAGS)  # noqa: S608
        db.commit()
        db.execute("vacuum")


def our_experiment(path: Path) -> str | None:
    """Return the id of the experiment of predictions, None where there is none."""
    with closing(sqlite3.connect(path)) as db:
        query = "select experiment_id from experiments where name = ?"
        row = db.execute(query, (EXPERIMENT,)).fetchone()
    return str(row[0]) if row else None


def move_files(path: Path, old: str, new: str, only: str | None = None) -> None:
    """Say that the files below `old` are below `new`: experiments and runs name their place.

    `only`: of this experiment.
    """
    with closing(sqlite3.connect(path)) as db:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            # In each form in which a folder is named.
            for before, after in ((old, new), (f"file://{old}", f"file://{new}")):
                db.execute(
                    f"update {table} set {column} = ? || substr({column}, ?)"  # noqa: S608
                    f" where substr({column}, 1, ?) = ?"
                    " and experiment_id = ifnull(?, experiment_id)",
                    (after, len(before) + 1, len(before), before, only and int(only)),
                )
        db.commit()
