from __future__ import annotations

import ctypes
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.make import finished
from tests.tracking_server import Stores

from ddx.adapters.mlflow_runs import BulkRuns, database, files
from ddx.core.run_draft import RunDraft, draft
from ddx.errors import TrackerUnavailable, UntestedSchema


@pytest.fixture
def runs(stores: Stores) -> Iterator[BulkRuns]:
    made = BulkRuns(stores.db_uri, stores.artifacts_path, "somebody")
    yield made
    made.close()


def a_draft() -> RunDraft:
    return draft(finished())


def sql(stores: Stores, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(stores.db_uri.removeprefix("sqlite:///"))) as db, db:
        return db.execute(statement).fetchall()


def test_a_schema_that_was_not_tested_is_refused_also_when_it_changes_later(
    runs: BulkRuns, stores: Stores
) -> None:
    runs.check()
    runs.deliver([a_draft()], {})
    sql(stores, "update alembic_version set version_num = 'fedcba987654'")
    late = a_draft()
    with pytest.raises(UntestedSchema, match="fedcba987654"):
        runs.check()
    with pytest.raises(UntestedSchema):
        runs.deliver([late], {})
    assert not runs.look_for([late.prediction_id])


def test_a_database_that_mlflow_has_not_made_yet_is_waited_for_and_not_made(
    tmp_path: Path,
) -> None:
    absent = tmp_path / "mlflow.db"
    runs = BulkRuns(f"sqlite:///{absent}", str(tmp_path / "artifacts"), "somebody")
    with pytest.raises(TrackerUnavailable):
        runs.check()
    with pytest.raises(TrackerUnavailable):
        runs.deliver([a_draft()], {})
    assert not absent.exists()
    sqlite3.connect(absent).close()
    with pytest.raises(TrackerUnavailable):
        runs.check()


def test_a_locked_database_is_waited_for(
    runs: BulkRuns, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_SQLITE_BUSY_S", 0.2)
    one = a_draft()
    runs.deliver([a_draft()], {})
    path = stores.db_uri.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(TrackerUnavailable, match="SQLITE_BUSY"):
            runs.deliver([one], {})
        other.execute("rollback")
    runs.deliver([one], {})
    assert len(runs.look_for([one.prediction_id])) == 1


def test_without_its_files_no_run_can_be_seen(runs: BulkRuns, stores: Stores) -> None:
    Path(stores.artifacts_path).write_text("a file where the folder should be")
    one = a_draft()
    with pytest.raises(TrackerUnavailable, match="writing artifacts: Not a directory"):
        runs.deliver([one], {})
    assert not runs.look_for([one.prediction_id])
    Path(stores.artifacts_path).unlink()
    runs.deliver([one], {})
    (found,) = runs.read([one.prediction_id])
    assert found.draft == one


def test_files_that_cannot_be_made_durable_are_not_acknowledged(
    runs: BulkRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: int) -> int:
        ctypes.set_errno(5)
        return -1

    monkeypatch.setattr(files, "_SYNCFS", fails)
    one = a_draft()
    with pytest.raises(TrackerUnavailable, match="Input/output error"):
        runs.deliver([one], {})
    assert not runs.look_for([one.prediction_id])


def test_where_there_is_no_syncfs_each_file_is_synced(
    runs: BulkRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_SYNCFS", None)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    one = a_draft()
    runs.deliver([one], {})
    assert len(synced) == len(one.files) + 3


def test_sqlite_is_given_statistics_that_mlflow_never_gathers(
    runs: BulkRuns, stores: Stores
) -> None:
    runs.deliver([a_draft() for _ in range(20)], {})
    tables = {row[0] for row in sql(stores, "select tbl from sqlite_stat1")}
    assert {"runs", "latest_metrics", "tags"} <= tables


def test_the_journal_mode_stays_mlflows_own(runs: BulkRuns, stores: Stores) -> None:
    runs.deliver([a_draft()], {})
    assert sql(stores, "pragma journal_mode") == [("delete",)]


def test_errors_quote_no_value_of_a_run(
    runs: BulkRuns, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    sql(stores, "drop table params")
    with pytest.raises(TrackerUnavailable) as raised:
        runs.deliver([a_draft()], {})
    chain: list[BaseException] = [raised.value]
    while cause := chain[-1].__cause__:
        chain.append(cause)
    assert len(chain) > 1, "the cause is kept"
    assert not any("openai/local" in str(error) for error in chain)
    assert "openai/local" not in caplog.text
