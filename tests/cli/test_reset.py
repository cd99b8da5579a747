"""`ddx reset` on real files and processes."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.web.conftest import ENVIRONMENT

from ddx.adapters.processes import Process
from ddx.cli import run
from ddx.cli.exits import EXIT_CODE
from ddx.errors import SettingsError
from ddx.settings import load
from ddx.wiring.site import LocalSite

needs_proc = pytest.mark.skipif(not Path("/proc").exists(), reason="needs Linux's /proc")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with data: one run with an artifact, a journal folder, and the user's own files."""
    monkeypatch.setenv("DDX_HOME", str(tmp_path))
    (tmp_path / "ddx_data" / "keys").mkdir(parents=True)
    (tmp_path / "ddx_data" / "keys" / "main.keys").write_text("k" * 10)
    run_folder = tmp_path / "mlflow_data" / "artifacts" / "1" / "abc" / "artifacts"
    run_folder.mkdir(parents=True)
    (run_folder / "input_case.txt").write_text("fever")
    with closing(sqlite3.connect(tmp_path / "mlflow_data" / "mlflow.db")) as db:
        db.execute("create table runs (run_uuid text)")
        db.execute("create table alembic_version (version_num text)")
        db.execute("insert into runs values ('abc')")
        db.commit()
    (tmp_path / "ddx.toml").write_text("port = 8001\n")
    return tmp_path


def test_everything_local_is_deleted_and_the_users_files_stay(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["reset", "--yes"]) == 0

    shown = capsys.readouterr().out
    assert "will be lost: MLflow's runs (1), 12.0 KiB" in shown
    assert f"in {home / 'ddx_data'}" in shown
    assert [path.name for path in home.iterdir()] == ["ddx.toml"]

    (home / "mlflow_data" / "artifacts").mkdir(parents=True)
    (home / "mlflow_data" / "mlflow.db").write_bytes(b"")
    assert run(["reset", "--yes"]) == 0
    assert [path.name for path in home.iterdir()] == ["ddx.toml"], "also without any run"
    capsys.readouterr()
    assert run(["reset", "--yes"]) == 0
    assert "nothing to delete" in capsys.readouterr().out


def test_json_names_what_was_deleted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reset", "--yes", "--json"]) == 0

    deleted = json.loads(capsys.readouterr().out)["deleted"]
    places = ["ddx_data", "mlflow_data/artifacts", "mlflow_data/mlflow.db"]
    assert deleted == [str(home / place) for place in places]


class Typing(io.StringIO):
    """A person at a terminal, who types these lines."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with one prediction."""
    home = tmp_path / "used"
    home.mkdir()
    for name, value in {**ENVIRONMENT, "DDX_HOME": str(home)}.items():
        monkeypatch.setenv(name, value)
    assert run(["predict", "Fever for 3 days.", "--model", "instant"]) == 0
    return home


def test_a_backup_is_offered_first_and_restores(
    used: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Typing("\ny\n"))
    assert run(["reset"]) == 0
    shown = capsys.readouterr().out
    assert "Back it up first?" in shown
    assert not (used / "ddx_data").exists()
    (made,) = used.glob("ddx-backup-*.tar")
    assert f"backed up: {made}" in shown
    assert run(["restore", str(made), "--drill", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"] == 1


def test_the_offer_can_be_declined_and_a_no_afterwards_makes_none(
    used: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Typing("\nn\n"))
    assert run(["reset"]) == 1
    assert (used / "ddx_data").exists()
    assert not list(used.glob("ddx-backup-*"))
    monkeypatch.setattr(sys, "stdin", Typing("no\ny\n"))
    assert run(["reset"]) == 0
    assert not list(used.glob("ddx-backup-*"))
    assert not (used / "ddx_data").exists()


def test_for_a_script_the_backup_is_an_option_and_one_that_fails_saves_the_data(
    used: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (tmp_path / "absent" / "b.tar", used / "ddx_data" / "b.tar"):
        assert run(["reset", "--yes", "--backup", str(wrong)]) == EXIT_CODE["output_refused"]
        assert (used / "ddx_data" / "journals").exists()
    capsys.readouterr()
    path = tmp_path / "b.tar"
    assert run(["reset", "--yes", "--json", "--backup", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["backup"] == str(path)
    assert not (used / "ddx_data").exists()
    assert run(["backup", "verify", str(path)]) == 0


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_without_a_terminal_it_needs_a_yes(
    home: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["reset", *options]) == 2

    assert "add --yes" in capsys.readouterr().err
    assert (home / "mlflow_data" / "mlflow.db").exists()


def test_what_lies_beside_mlflows_own_folders_stays(home: Path) -> None:
    stranger = home / "mlflow_data" / "artifacts" / "thesis.docx"
    stranger.write_text("mine")

    run(["reset", "--yes"])

    assert stranger.read_text() == "mine"
    assert not (home / "mlflow_data" / "artifacts" / "1").exists()


def test_a_foreign_database_and_store_are_not_touched_and_that_is_said(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "mlflow_server_config.py").write_text(
        'db_uri = "postgresql://u:s3cret@h/d"\nartifacts_path = "s3://bucket/a"\n'
    )

    assert run(["reset", "--yes"]) == 0

    shown = capsys.readouterr().out
    assert "stays: the database postgresql+psycopg://u:********@h/d" in shown
    assert "stays: the artifacts in s3://bucket/a" in shown
    assert (home / "mlflow_data" / "mlflow.db").exists()
    assert not (home / "ddx_data").exists()


def test_a_tracking_server_that_is_not_ours_keeps_even_local_files(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DDX_TRACKING_URI", "http://mlflow.example.org")

    assert run(["reset", "--yes"]) == 0

    assert "stays: MLflow at http://mlflow.example.org" in capsys.readouterr().out
    assert (home / "mlflow_data" / "mlflow.db").exists()


@pytest.mark.parametrize("folder", [".", "..", "ddx_data/..", "../.."])
def test_a_data_folder_that_holds_the_project_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    monkeypatch.setenv("DDX_DATA_DIR", folder)
    # Refused by the settings already; and by the reset, should one come past them.
    settings = replace(load({}, home), data_dir=folder)
    with pytest.raises(SettingsError, match="holds the project"):
        LocalSite(settings)

    assert run(["reset", "--yes"]) == EXIT_CODE["bad_settings"]

    assert "holds the project" in capsys.readouterr().err
    assert (home / "ddx.toml").exists()


def _process(home: Path, *command: str, environment: dict[str, str]) -> Process:
    started = Process(command, environment=environment, folder=home.parent, log=home / "log")
    until = time.monotonic() + 10
    while not (home / "log").read_text() and time.monotonic() < until:
        time.sleep(0.02)
    return started


@needs_proc
def test_our_own_processes_are_stopped_and_no_others(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A stand-in that looks like `python -m ddx serve` to whoever reads its command line.
    program = "print('up', flush=True); import time; time.sleep(60)"
    like_ours = (sys.executable, "-c", program, "ddx", "serve")
    ours = _process(home, *like_ours, environment={"DDX_HOME": str(home)})
    other = _process(home, *like_ours, environment={"DDX_HOME": str(home.parent)})
    try:
        assert run(["reset", "--yes"]) == 0

        assert f"will be stopped: pid {ours.pid} (" in capsys.readouterr().out
        assert ours.ended() == -15
        assert other.ended() is None
    finally:
        ours.kill()
        other.kill()


@needs_proc
def test_a_stranger_with_the_database_open_saves_everything(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = home / "mlflow_data" / "mlflow.db"
    program = f"f = open({str(database)!r}); print('open', flush=True); import time; time.sleep(60)"
    stranger = _process(home, sys.executable, "-c", program, environment=dict(os.environ))
    try:
        assert run(["reset", "--yes"]) == EXIT_CODE["files_in_use"]

        assert f"in use by pid {stranger.pid} (" in capsys.readouterr().err
        assert database.exists()
        assert (home / "ddx_data").exists()
    finally:
        stranger.kill()
