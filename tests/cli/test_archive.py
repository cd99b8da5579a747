"""`ddx archive`: out of MLflow's real tables, and back as it was, whatever dies in between."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.deliver_world import PowerCut
from tests.make import a_prediction, a_request, finished

from ddx.adapters.run_index import RunIndex
from ddx.adapters.sqlite_journal import SqliteJournal
from ddx.cli import run
from ddx.cli.exits import EXIT_CODE
from ddx.core import ids
from ddx.core.feedback import Feedback
from ddx.core.record import PredictionId
from ddx.settings import load
from ddx.wiring import archiving

WORD = "cassowary"
OLD, NEW = 5, 3
MOMENTS = ("written", "verified", "noted", "removed")
TABLES = ("runs", "params", "metrics", "latest_metrics", "tags")


@pytest.fixture
def home(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DDX_HOME", str(tmp_path))
    monkeypatch.setenv("DDX_DELIVERY", "bulk")
    (tmp_path / "mlflow_data").mkdir(mode=0o700)
    shutil.copy(empty_database, tmp_path / "mlflow_data" / "mlflow.db")
    return tmp_path


@pytest.fixture
def old(home: Path, capsys: pytest.CaptureFixture[str]) -> list[PredictionId]:
    """Delivered predictions of two years ago, beside some of today."""
    kept = []
    with closing(SqliteJournal(home / "ddx_data", "main")) as journal:
        for number in range(OLD + NEW):
            age = timedelta(days=700 if number < OLD else 0)
            made = datetime.now(UTC) - age
            id = ids.prediction_id(made, bytes([number] * 10))
            request = a_request(case=f"A {WORD} bit me.", tracker=f"{WORD}-{number}")
            record = finished(a_prediction(id=id, received_at=made, request=request))
            journal.accept(record, None).result()
            kept.append(id)
    said(capsys, "deliver", "--once")
    with closing(sqlite3.connect(database(home))) as db, db:
        # What a person wrote there is part of a run, too.
        db.execute("insert into tags select 'mine', ?, run_uuid from runs limit 1", (WORD,))
    return kept[:OLD]


def database(home: Path) -> Path:
    return home / "mlflow_data" / "mlflow.db"


def said(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run([*args, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def everything(home: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(database(home))) as db:
        return {name: sorted(map(repr, db.execute(f"select * from {name}"))) for name in TABLES}


def active(home: Path) -> int:
    with closing(sqlite3.connect(database(home))) as db:
        return int(db.execute("select count(*) from runs").fetchone()[0])


def test_old_runs_leave_mlflow_and_come_back_equal(
    home: Path, old: list[PredictionId], capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(home)
    assert said(capsys, "archive", "--older-than", "365d", "--dry-run")["archived"] == OLD
    assert everything(home) == before
    assert said(capsys, "archive", "--older-than", "365d")["archived"] == OLD
    assert active(home) == NEW
    with closing(sqlite3.connect(database(home))) as db:
        for name in TABLES[1:]:
            query = f"select count(*) from {name} where run_uuid not in (select run_uuid from runs)"
            assert db.execute(query).fetchone() == (0,), name

    found = said(capsys, "verify")
    assert (found["archived"], found["differences"]) == (OLD, [])
    assert said(capsys, "ledger", "verify")["ok"]
    assert said(capsys, "archive", "--older-than", "365d")["archived"] == 0

    assert said(capsys, "archive", "restore", old[0]) == {"restored": 1}
    assert said(capsys, "archive", "restore", "--all") == {"restored": OLD - 1}
    assert everything(home) == before
    assert said(capsys, "verify")["archived"] == 0


def test_no_word_of_a_patient_stands_in_the_archive(
    home: Path, old: list[PredictionId], capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "archive", "--older-than", "365d")
    files = [*(home / "ddx_data" / "archive").iterdir(), home / "ddx_data" / "archived.db"]
    assert len(files) > 1
    for file in files:
        assert WORD.encode() not in file.read_bytes(), file.name
        assert file.stat().st_mode & 0o077 == 0, file.name
    assert old


@pytest.mark.parametrize("fatal", MOMENTS)
def test_what_dies_while_archiving_loses_nothing_and_is_finished_by_the_next(
    home: Path, old: list[PredictionId], fatal: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(home)
    with suppress(PowerCut):
        archiving.archive(load(), 365, dry_run=False, progress=lambda _: None, at=dies_at(fatal))
    assert said(capsys, "verify")["differences"] == []
    said(capsys, "archive", "--older-than", "365d")
    assert active(home) == NEW
    assert said(capsys, "verify")["archived"] == len(old)

    with suppress(PowerCut):
        archiving.restore(load(), [], at=dies_at("put back"))
    assert said(capsys, "verify")["differences"] == []
    said(capsys, "archive", "restore", "--all")
    assert everything(home) == before


def dies_at(fatal: str) -> Callable[[str], None]:
    def at(moment: str) -> None:
        if moment == fatal:
            raise PowerCut

    return at


def test_a_rebuild_leaves_archived_runs_where_they_are(
    home: Path, old: list[PredictionId], capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "archive", "--older-than", "365d")
    said(capsys, "deliver", "--once", "--rebuild")
    assert active(home) == NEW
    assert said(capsys, "verify")["archived"] == len(old)


def test_feedback_brings_an_archived_run_back(
    home: Path, old: list[PredictionId], capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "archive", "--older-than", "365d")
    with closing(SqliteJournal(home / "ddx_data", "main")) as journal:
        word = Feedback(received_at=datetime.now(UTC), comment="seen")
        journal.add_feedback(old[2], word).result()
    said(capsys, "deliver", "--once")
    assert active(home) == NEW + 1
    found = said(capsys, "verify")
    assert (found["archived"], found["differences"]) == (OLD - 1, [])
    said(capsys, "archive", "--older-than", "365d")
    said(capsys, "deliver", "--once", "--rebuild")
    assert active(home) == NEW


def test_an_erasure_reaches_what_is_archived(
    home: Path, old: list[PredictionId], capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "archive", "--older-than", "365d")
    place = Path(RunIndex(home / "ddx_data").find([old[1]])[old[1]].artifact_uri)
    assert any(place.iterdir())
    (entry,) = said(capsys, "erase", old[1], "--yes")["erased"]
    assert entry["mlflow"]["archived"] == 1
    assert entry["mlflow"]["files"] == 5
    assert not any(place.iterdir())
    assert said(capsys, "archive", "restore", "--all") == {"restored": OLD - 1}
    assert said(capsys, "verify")["differences"] == []
    assert said(capsys, "ledger", "verify")["ok"]


def test_what_somebody_changed_meanwhile_stays(
    home: Path, old: list[PredictionId], capsys: pytest.CaptureFixture[str]
) -> None:
    def at(moment: str) -> None:
        if moment == "noted":
            with closing(sqlite3.connect(database(home))) as db, db:
                run_id = ids.run_id(old[0])
                db.execute("insert into tags values ('late', 'word', ?)", (run_id,))

    done = archiving.archive(load(), 365, dry_run=False, progress=lambda _: None, at=at)
    assert (done.archived, done.changed) == (OLD - 1, 1)
    assert active(home) == NEW + 1
    assert said(capsys, "verify")["archived"] == OLD - 1


def test_a_change_in_the_archive_is_named_and_nothing_of_it_comes_back(
    home: Path, old: list[PredictionId], capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "archive", "--older-than", "365d")
    (file,) = (home / "ddx_data" / "archive").iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    # The sealed rows of one under the name of another.
    lines[0]["sealed"], lines[1]["sealed"] = lines[1]["sealed"], lines[0]["sealed"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = said(capsys, "verify", code=1)["differences"]
    assert sorted(one["where"] for one in found) == sorted(old[:2])
    assert {one["fault"] for one in found} == {"changed payload"}
    assert run(["archive", "restore", "--all"]) == EXIT_CODE["archive_damaged"]
    assert active(home) == NEW
    file.unlink()
    found = said(capsys, "verify", code=1)["differences"]
    assert [one["fault"] for one in found] == ["missing run"] * OLD


@pytest.mark.usefixtures("old")
def test_wrong_usage_is_told() -> None:
    for args in ([], ["--older-than", "a year"], ["restore"], ["restore", "x", "--all"]):
        assert run(["archive", *args]) == 2, args
    assert run(["archive", "restore", "nobody"]) == EXIT_CODE["not_found"]
