"""`ddx doctor` on a real home: it sees what is there and changes nothing."""

from __future__ import annotations

import json
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ddx.cli import run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home where nothing was ever started, on ports that are free."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        ports = [server.getsockname()[1] for server in (one, two)]
    monkeypatch.setenv("DDX_HOME", str(tmp_path))
    monkeypatch.setenv("DDX_PORT", str(ports[0]))
    monkeypatch.setenv("DDX_MLFLOW_PORT", str(ports[1]))
    return tmp_path


def _doctor(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, object]]]:
    code = run(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] == (code == 0)
    return code, {check["name"]: check for check in told["checks"]}


def test_a_home_where_nothing_was_started_is_ok_and_stays_empty(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, checks = _doctor(capsys)

    assert code == 0
    assert set(checks) == {
        *("MLflow version", "MLflow", "MLflow database", "server", "modes", "disk"),
        *("backlog", "keys"),
    }
    assert list(home.iterdir()) == []


def test_a_port_that_another_program_holds_is_not_ok(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("DDX_PORT", str(port))
        code, checks = _doctor(capsys)

    assert code == 1
    assert not checks["server"]["ok"]
    assert f"port {port} is held by pid" in str(checks["server"]["found"])


def test_a_database_that_others_may_read_is_not_ok_and_its_mode_is_left(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = home / "mlflow_data"
    folder.mkdir()
    folder.chmod(0o755)

    code, checks = _doctor(capsys)

    assert code == 1
    assert f"{folder} (755)" in str(checks["modes"]["found"])
    assert folder.stat().st_mode & 0o777 == 0o755


def test_the_revision_of_a_sound_database_is_said(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _database(home)

    code, checks = _doctor(capsys)

    assert code == 0
    assert "sound, revision abc123" in str(checks["MLflow database"]["found"])


def test_a_damaged_database_is_found(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _database(home)
    content = bytearray(file.read_bytes())
    content[4096:4200] = b"\xff" * 104  # the head of the second page
    file.write_bytes(content)

    code, checks = _doctor(capsys)

    assert code == 1
    assert not checks["MLflow database"]["ok"]


def test_people_read_one_line_a_check_and_an_advice_where_it_is_needed(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "ddx.toml").write_text('default_model = "gpt-4o"\n')
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    assert run(["doctor"]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("ok ") for line in lines) == 7
    (bad,) = (line for line in lines if line.startswith("NOT OK"))
    assert " keys " in bad
    assert lines[-1].lstrip().startswith("-> The default model gpt-4o has no key")


def _database(home: Path) -> Path:
    folder = home / "mlflow_data"
    folder.mkdir(mode=0o700)
    file = folder / "mlflow.db"
    with closing(sqlite3.connect(file)) as db:
        db.execute("create table runs (run_uuid text)")
        db.execute("create table alembic_version (version_num text)")
        db.execute("insert into alembic_version values ('abc123')")
        db.commit()
    file.chmod(0o600)
    return file
