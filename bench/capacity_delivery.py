"""What one run costs on its way into MLflow, measured: deliverer, PostgreSQL, files, objects."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import astuple, dataclass
from pathlib import Path

import psycopg
from tests.postgres import a_postgres

from bench.delivery import object_store
from bench.processes import taken
from bench.tracking import fill
from ddx.adapters.delivery_state import SqliteDeliveryState
from ddx.adapters.mlflow_runs import BulkRuns
from ddx.adapters.sqlite_journal import SqliteJournal, SqliteJournalReader
from ddx.adapters.system import SystemClock, luck
from ddx.services.deliver import Deliverer

TABLES = ("runs", "params", "metrics", "latest_metrics", "tags")
WARM = 50
"""Runs before those that are counted: what is loaded and made once is no run's cost."""


@dataclass(frozen=True, slots=True)
class Looked:
    """How much there was at one moment."""

    rows: float
    database_bytes: float
    wal_bytes: float
    files: float
    file_bytes: float
    disk_bytes: float
    database_s: float


def delivery_costs(home: Path, runs: int, objects: int) -> dict[str, float]:
    """Bring so many runs into MLflow with files in a folder, and a few with files in a bucket."""
    with ExitStack() as stack:
        cluster, artifacts = _folder(home / "postgres"), _folder(home / "artifacts")
        db_uri = stack.enter_context(a_postgres(cluster))
        postmaster = int((cluster / "data" / "postmaster.pid").read_text().split()[0])

        def look() -> Looked:
            return Looked(*_database(db_uri), *_files(artifacts), taken(postmaster).cpu_s)

        with closing(BulkRuns(db_uri, str(artifacts), "bench")) as door:
            _delivered(door, home / "warm", WARM)
            before: list[Looked] = []
            own_s = _delivered(door, home / "counted", runs, lambda: before.append(look()))
            after = look()
        other_uri = stack.enter_context(a_postgres(_folder(home / "other")))
        bucket = stack.enter_context(object_store(home))
        with closing(BulkRuns(other_uri, bucket, "bench")) as door:
            _delivered(door, home / "warm-s3", 5)
            s3_s = _delivered(door, home / "counted-s3", objects)
    each = [
        (now - then) / runs for now, then in zip(astuple(after), astuple(before[0]), strict=True)
    ]
    *sizes, database_s = each
    names = ("rows", "database_bytes", "wal_bytes", "files", "file_bytes", "disk_bytes")
    return {
        "deliver_ms": 1000 * own_s / runs,
        "deliver_s3_ms": 1000 * s3_s / objects,
        "database_ms": 1000 * database_s,
        **dict(zip(names, sizes, strict=True)),
    }


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _delivered(
    door: BulkRuns, folder: Path, count: int, begin: Callable[[], object] = lambda: None
) -> float:
    """Deliver an encrypted journal of so many records; return this process's time for it."""
    with closing(SqliteJournal(folder, "main")) as journal:
        fill(journal, count)
    with (
        closing(SqliteJournalReader(folder, "main")) as reader,
        closing(SqliteDeliveryState(folder)) as state,
    ):
        deliverer = Deliverer(
            journals=lambda: [reader], runs=door, state=state, clock=SystemClock(), luck=luck
        )
        begin()
        spent_s = time.process_time()
        done = deliverer.once().acknowledged
        spent_s = time.process_time() - spent_s
    if done != count:
        sys.exit(f"error: {done} of {count} records were delivered")
    return spent_s


def _database(uri: str) -> tuple[float, float, float]:
    """Return (rows of runs, bytes of the database, bytes of log so far)."""
    counted = " + ".join(f"(select count(*) from {name})" for name in TABLES)
    with psycopg.connect(uri.replace("+psycopg", "")) as db:
        found = db.execute(
            f"select {counted}, pg_database_size(current_database()),"
            " pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8"
        ).fetchone()
    assert found is not None
    rows, size, log = found
    return float(rows), float(size), float(log)


def _files(folder: Path) -> tuple[float, float, float]:
    """Return (files, their bytes, their bytes in whole blocks)."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return (
        float(len(found)),
        float(sum(one.st_size for one in found)),
        float(sum(one.st_blocks * 512 for one in found)),
    )
