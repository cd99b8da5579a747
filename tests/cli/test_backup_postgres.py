"""A backup of an installation whose MLflow is on PostgreSQL restores without PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.postgres import NoPostgres, a_postgres
from tests.web.conftest import ENVIRONMENT

pytest.importorskip("mlflow", reason="needs the extra `tracking`")

from ddx.cli import run


def test_postgresql_is_in_the_backup_as_it_was_at_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    home, folder, back = (tmp_path / name for name in ("home", "postgres", "back"))
    home.mkdir()
    folder.mkdir()
    for name, value in {**ENVIRONMENT, "DDX_HOME": str(home)}.items():
        monkeypatch.setenv(name, value)
    archive = str(tmp_path / "one.tar")
    try:
        with a_postgres(folder) as uri:
            (home / "mlflow_server_config.py").write_text(f"db_uri = '{uri}'\n")
            client = MlflowClient(uri)
            theirs = client.create_experiment("theirs", artifact_location="s3://theirs/2")
            client.log_metric(client.create_run(theirs).info.run_id, "auc", 1 / 3)
            assert run(["predict", "Fever for 3 days.", "--model", "instant"]) == 0
            assert run(["deliver", "--once"]) == 0
            assert run(["backup", archive]) == 0
    except NoPostgres as error:
        pytest.skip(str(error))
    capsys.readouterr()
    assert run(["restore", archive, "--into", str(back), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["predictions"], told["mlflow"], told["differences"]) == (1, True, [])
    restored = MlflowClient(f"sqlite:///{back}/mlflow_data/mlflow.db")
    found = restored.get_experiment_by_name("theirs")
    assert found.artifact_location == "s3://theirs/2"
    (one,) = restored.search_runs([found.experiment_id])
    assert one.data.metrics == {"auc": 1 / 3}
    ours = restored.get_experiment_by_name("ddx-server-tracking")
    assert ours.artifact_location.startswith(str(back))
