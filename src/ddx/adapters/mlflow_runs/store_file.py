"""MLflow's own SQLite file, in a backup: what is taken out of a copy, and where its files are."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from ddx.adapters.mlflow_runs.erasing import TELLING_TAGS
from ddx.core.partition import is_ours


def strip(path: Path) -> None:
    """Take out of a copy the tags that lead to a patient: the journal has them, under its keys."""
    marks = ", ".join("?" for _ in TELLING_TAGS)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"delete from tags where key in ({marks})", TELLING_TAGS)  # noqa: S608
        db.commit()
        db.execute("vacuum")


def our_experiments(path: Path) -> frozenset[str]:
    """Return the ids of the experiments of predictions, the present one and those of the past."""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("select experiment_id, name from experiments")
        return frozenset(str(id) for id, name in rows if is_ours(name))


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
