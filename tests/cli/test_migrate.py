"""`ddx migrate` and `ddx db`: MLflow's stores on this machine, which nobody uses meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("mlflow", reason="needs the extra `tracking`")

from ddx.cli import run
from ddx.cli.exits import EXIT_CODE
from ddx.errors import MoveRefused
from ddx.settings import load
from ddx.wiring import migrating

NAME = "ddx-server-tracking"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from mlflow import MlflowClient

    monkeypatch.setenv("DDX_HOME", str(tmp_path))
    monkeypatch.setenv("DDX_MLFLOW_PORT", "1")
    (tmp_path / "ddx_data").mkdir()
    (tmp_path / "mlflow_data").mkdir()
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow_data/mlflow.db")
    root = tmp_path / "mlflow_data" / "artifacts"
    experiment = client.create_experiment(NAME, artifact_location=f"{root}/1")
    for number in range(2):
        made = client.create_run(experiment)
        client.log_text(made.info.run_id, f"answer {number}", "final_response.txt")
        client.set_terminated(made.info.run_id)
    return tmp_path


def test_the_files_go_to_artifacts_path_and_the_rows_name_them_there(home: Path) -> None:
    from mlflow import MlflowClient

    (home / "mlflow_server_config.py").write_text("artifacts_path = 'new place/files'\n")
    with pytest.raises(MoveRefused, match="ddx migrate --artifacts"):
        migrating.check_artifacts(load())
    done = migrating.migrate_files(load(), lambda _: None)
    assert (done.files, done.size_bytes) == (2, 16)
    migrating.check_artifacts(load())
    client = MlflowClient(f"sqlite:///{home}/mlflow_data/mlflow.db")
    assert client.get_experiment_by_name(NAME).artifact_location == f"{home}/new place/files/1"
    for found in client.search_runs(["1"]):
        assert found.info.artifact_uri.startswith(f"{home}/new place/files/1/")
        assert "answer" in Path(found.info.artifact_uri, "final_response.txt").read_text()
    assert migrating.migrate_files(load(), lambda _: None).files == 0, "nothing is left to do"


def test_the_rows_go_to_another_database(home: Path) -> None:
    from mlflow import MlflowClient

    moved = migrating.migrate_rows(load(), "sqlite:///mlflow_data/second.db", "", lambda _: None)
    assert {one.table: one.rows for one in moved}["runs"] == 2
    second = MlflowClient(f"sqlite:///{home}/mlflow_data/second.db")
    assert len(second.search_runs(["1"])) == 2
    with pytest.raises(MoveRefused, match="in use"):
        migrating.migrate_rows(load(), "sqlite:///mlflow_data/mlflow.db", "", lambda _: None)


def test_the_revision_is_shown_and_an_upgrade_makes_a_copy_first(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["db", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"]
    copy = migrating.upgrade(load(), backed_up=False)
    assert copy is not None
    assert copy.read_bytes()[:15] == b"SQLite format 3"
    (home / "mlflow_server_config.py").write_text("db_uri = 'postgresql://u@127.0.0.1:1/x'\n")
    assert run(["db", "upgrade"]) == EXIT_CODE["move_refused"]
    assert "--backed-up" in capsys.readouterr().err


def test_what_is_not_ours_is_not_moved(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home.exists()
    monkeypatch.setenv("DDX_TRACKING_URI", "https://mlflow.example.org")
    with pytest.raises(MoveRefused, match="operator"):
        migrating.migrate_files(load(), lambda _: None)
