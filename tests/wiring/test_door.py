"""Which door into MLflow is taken."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.tracking_server import a_free_port

from ddx import settings
from ddx.adapters import http_probe
from ddx.adapters.mlflow_runs import BulkRuns, ClientRuns
from ddx.errors import DatabaseUnavailable, UntestedSchema
from ddx.settings import Settings
from ddx.wiring import doors

TESTED = "dc11669786a5"


def a_database(home: Path, revision: str) -> Path:
    (home / "mlflow_data").mkdir(exist_ok=True)
    path = home / "mlflow_data" / "mlflow.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("create table if not exists alembic_version (version_num text)")
        db.execute("delete from alembic_version")
        db.execute("insert into alembic_version values (?)", (revision,))
    return path


def door(home: Path, **environment: str) -> object:
    loaded = settings.load(environment, home)
    return doors.door(loaded, threading.Event(), tries=30)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="needs the extra `tracking`")
    monkeypatch.setattr(doors, "DOOR_WAIT_S", 0.01)


def mlflow_answers(monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """MLflow's page answers from the look after `after` on."""
    looks: list[str] = []

    def missing(host: str, port: int, path: str, *, tls: bool) -> str | None:
        assert not tls
        looks.append(path)
        return None if len(looks) > after else "it does not answer"

    monkeypatch.setattr(http_probe, "missing", missing)


def test_our_own_database_in_its_tested_form_takes_the_bulk_door(tmp_path: Path) -> None:
    a_database(tmp_path, TESTED)
    assert isinstance(door(tmp_path), BulkRuns)


def test_a_schema_in_the_middle_of_a_migration_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_database(tmp_path, "451aebb31d03")
    mlflow_answers(monkeypatch, after=10)
    timer = threading.Timer(0.05, a_database, (tmp_path, TESTED))
    timer.start()
    assert isinstance(door(tmp_path), BulkRuns)
    timer.join()


def test_a_schema_that_stays_untested_takes_the_client_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_database(tmp_path, "451aebb31d03")
    mlflow_answers(monkeypatch, after=3)
    assert isinstance(door(tmp_path), ClientRuns)


def test_the_bulk_door_that_is_asked_for_is_not_replaced_silently(tmp_path: Path) -> None:
    a_database(tmp_path, "451aebb31d03")
    with pytest.raises(UntestedSchema):
        door(tmp_path, DDX_DELIVERY="bulk")


def test_a_foreign_tracking_server_takes_the_client_door(tmp_path: Path) -> None:
    assert isinstance(door(tmp_path, DDX_TRACKING_URI="http://127.0.0.1:1"), ClientRuns)


def away(home: Path, driver: str) -> Settings:
    """Settings of a database, and of an MLflow, that nobody started."""
    loaded = settings.load({"DDX_MLFLOW_PORT": str(a_free_port())}, home)
    return replace(loaded, db_uri=f"{driver}://ddx@127.0.0.1:{a_free_port()}/mlflow")


@pytest.mark.parametrize("answers", [True, False], ids=["MLflow answers", "MLflow is away"])
@pytest.mark.parametrize("driver", ["postgresql+psycopg", "mysql+pymysql"])
def test_a_database_that_nobody_reaches_is_what_a_command_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, *, answers: bool
) -> None:
    pytest.importorskip(driver.partition("+")[2])
    mlflow_answers(monkeypatch, after=0 if answers else 1000)
    with pytest.raises(DatabaseUnavailable, match="cannot be reached") as told:
        doors.door(away(tmp_path, driver), threading.Event(), tries=2)
    assert "db_uri" in told.value.advice


def test_a_deliverer_waits_for_a_database_that_mlflow_does_not_reach_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg")
    mlflow_answers(monkeypatch, after=0)
    stop = threading.Event()
    timer = threading.Timer(0.5, stop.set)
    timer.start()
    found = doors.door(away(tmp_path, "postgresql+psycopg"), stop)
    assert isinstance(found, BulkRuns), "not the slow door for all its life"
    timer.join()
