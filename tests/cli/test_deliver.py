"""`ddx deliver`: from a real journal into MLflow's real database, and again into an empty one."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.make import finished

from ddx.adapters.sqlite_journal import SqliteJournal
from ddx.cli import run

COUNT = 7


@pytest.fixture
def home(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation whose journal holds predictions that nobody delivered."""
    monkeypatch.setenv("DDX_HOME", str(tmp_path))
    monkeypatch.setenv("DDX_DELIVERY", "bulk")
    fresh_mlflow(tmp_path, empty_database)
    with closing(SqliteJournal(tmp_path / "ddx_data", "main")) as journal:
        for _ in range(COUNT):
            journal.accept(finished(), None).result()
    return tmp_path


def fresh_mlflow(home: Path, empty_database: Path) -> None:
    (home / "mlflow_data").mkdir(mode=0o700, exist_ok=True)
    shutil.copy(empty_database, home / "mlflow_data" / "mlflow.db")


def said(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    """Run a command that must succeed; return what it printed."""
    assert run([*args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("home")
def test_once_delivers_all_that_waits_and_a_dry_run_only_counts_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert said(capsys, "deliver", "--dry-run") == {"would_be_delivered": COUNT}
    all_of_it = {"delivered": COUNT, "quarantined": 0, "left": 0}
    assert said(capsys, "deliver", "--once") == all_of_it
    assert said(capsys, "deliver", "--dry-run") == {"would_be_delivered": 0}
    assert said(capsys, "deliver", "--once") == {**all_of_it, "delivered": 0}
    assert said(capsys, "verify")["ok"] is True


def test_rebuild_fills_an_mlflow_whose_database_and_files_are_gone(
    home: Path, empty_database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "deliver", "--once")
    shutil.rmtree(home / "mlflow_data")
    fresh_mlflow(home, empty_database)

    assert run(["verify", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["differences"]
    assert [one["fault"] for one in found] == ["missing run"] * COUNT

    assert said(capsys, "deliver", "--once", "--rebuild")["delivered"] == COUNT
    verified = said(capsys, "verify")
    assert (verified["predictions"], verified["differences"]) == (COUNT, [])
    assert said(capsys, "deliver", "--once", "--rebuild")["delivered"] == COUNT
    assert said(capsys, "verify")["differences"] == []


def test_what_mlflow_refused_is_sent_again_when_told(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mlflow = home / "mlflow_data" / "mlflow.db"
    with closing(SqliteJournal(home / "ddx_data", "main")) as journal:
        poison = finished()
        journal.accept(poison, None).result()
    with closing(sqlite3.connect(mlflow)) as db, db:
        # As a check that a site adds to its own database.
        db.execute(
            f"create trigger picky before insert on tags when new.value = '{poison.id}'"
            " begin select raise(abort, 'no'); end"
        )
    first = said(capsys, "deliver", "--once")
    assert (first["delivered"], first["quarantined"], first["left"]) == (COUNT, 1, 0)
    assert said(capsys, "deliver", "--once")["delivered"] == 0

    with closing(sqlite3.connect(mlflow)) as db, db:
        db.execute("drop trigger picky")
    assert said(capsys, "deliver", "--once", "--retry-quarantined")["delivered"] == 1
    assert said(capsys, "verify")["predictions"] == COUNT + 1
