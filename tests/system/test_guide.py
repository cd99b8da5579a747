"""The guide's production options, troubleshooting and security considerations, row by row."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.postgres import NoPostgres, a_postgres
from tests.system.stack import Reply, Stack, check, free_port

from ddx.errors import MissingExtra
from ddx.settings import load, stores

HOME = Path(__file__).resolve().parents[2]
CASE = "Fever for 3 days, severe headache, pain behind the eyes, joint pain and a petechial rash."


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    found = Stack(tmp_path_factory.mktemp("guide"), free_port(), free_port())
    found.start()
    yield found
    if found.up is not None and found.up.poll() is None:
        found.stop()


def ddx(stack: Stack, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    names = {
        "DDX_HOME": str(stack.home),
        "DDX_PORT": str(stack.port),
        "DDX_MLFLOW_PORT": str(stack.mlflow_port),
    }
    return subprocess.run(
        [sys.executable, "-m", "ddx", *words],
        env={**os.environ, **names, **more},
        capture_output=True,
        text=True,
        check=False,
    )


def posted(stack: Stack, prefix: str, count: int = 3) -> list[Reply]:
    found = [stack.post(case=CASE, tracker=f"{prefix}-{number}") for number in range(count)]
    ids = {one.id for one in found}

    def there() -> bool:
        mine = [run for run in stack.runs() if run.data.tags.get("ddx.prediction_id") in ids]
        return check(stack, found, mine) == []

    stack.wait(there, 60)
    return found


# --- production options -----------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_option_1_remote_database_is_taken_as_the_guide_writes_it(
    tmp_path: Path, scheme: str
) -> None:
    (tmp_path / "mlflow_server_config.py").write_text(
        f'db_uri = "{scheme}://user:password@localhost/mlflow_db"\n'
    )
    found = load({}, tmp_path).db_uri
    assert re.fullmatch(rf"{scheme}\+\w+://user:password@localhost/mlflow_db", found)
    stores.check_installed(found)


def test_option_1_remote_database_takes_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    from ddx.cli import run

    home, folder = tmp_path / "home", tmp_path / "postgres"
    home.mkdir()
    folder.mkdir()
    monkeypatch.setenv("DDX_HOME", str(home))
    monkeypatch.setenv("DDX_BENCH_MODELS", "1")
    try:
        with a_postgres(folder) as uri:
            as_written = uri.replace("+psycopg", "")
            (home / "mlflow_server_config.py").write_text(f'db_uri = "{as_written}"\n')
            assert run(["predict", CASE, "--model", "instant"]) == 0
            assert run(["deliver", "--once"]) == 0
            assert len(MlflowClient(uri).search_runs(["1"])) == 1
    except NoPostgres as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    "path",
    [
        "s3://your-bucket/mlflow-artifacts",
        "gs://your-bucket/mlflow-artifacts",
        "wasbs://your-container@your-account.blob.core.windows.net/mlflow-artifacts",
    ],
)
def test_option_2_cloud_storage_is_taken_as_the_guide_writes_it(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow_server_config.py").write_text(f'artifacts_path = "{path}"\n')
    found = load({}, tmp_path).artifacts_path
    assert found == path
    stores.check_installed(found)
    monkeypatch.setattr(stores, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"pip install 'ddx-server\[(s3|gcs|azure)\]'"):
        stores.check_installed(found)


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("Databricks", "databricks"),
        ("SageMaker", "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/ours"),
        ("Google Cloud", "https://mlflow.example.org"),
        ("Azure ML", "azureml://eastus.api.azureml.ms/mlflow/v1.0/ours"),
    ],
)
def test_option_3_mlflow_on_cloud_platforms_has_an_address_and_a_page(
    tmp_path: Path, name: str, uri: str
) -> None:
    assert load({"DDX_TRACKING_URI": uri}, tmp_path).mlflow_uri == uri
    assert name in (HOME / "docs" / "stores.md").read_text()


# --- troubleshooting --------------------------------------------------------------------


def test_mlflow_server_wont_start_says_who_has_the_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        stack = Stack(tmp_path, free_port(), taken.getsockname()[1])
        done = ddx(stack, "up")
    assert done.returncode == 4
    assert str(stack.mlflow_port) in done.stderr
    assert f"pid {os.getpid()}" in done.stderr
    assert not (tmp_path / "mlflow_data").exists(), "nothing was touched"


def test_kill_existing_mlflow_processes_by_the_guides_pattern(stack: Stack) -> None:
    pid = stack.pid("MLflow")
    line = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    assert re.search("mlflow server", line), "pkill -f 'mlflow server' finds it"
    stack.kill("MLflow")
    posted(stack, "killed")
    assert stack.pid("MLflow") != pid


def test_database_issues_permissions_are_looked_at_and_left(stack: Stack) -> None:
    database = stack.home / "mlflow_data" / "mlflow.db"
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    database.chmod(0o644)
    found = _doctor(stack)["modes"]
    assert not found["ok"]
    assert "mlflow.db" in str(found["found"])
    assert stat.S_IMODE(database.stat().st_mode) == 0o644
    database.chmod(0o600)


def test_artifacts_not_saving_a_folder_at_mode_755_is_a_warning(stack: Stack) -> None:
    folder = stack.home / "mlflow_data" / "artifacts"
    folder.chmod(0o755)
    found = _doctor(stack)["modes"]
    assert not found["ok"]
    assert "artifacts" in str(found["found"])
    posted(stack, "open")  # it works all the same
    folder.chmod(0o700)


def test_artifacts_not_saving_a_folder_that_went_is_made_again(stack: Stack) -> None:
    shutil.rmtree(stack.home / "mlflow_data" / "artifacts")
    posted(stack, "gone")


def test_reset_database_by_rm_then_rebuild_brings_back_every_run_not_erased(stack: Stack) -> None:
    told = posted(stack, "before", 4)
    assert ddx(stack, "erase", told[0].id, "--yes").returncode == 0
    stack.stop()
    (stack.home / "mlflow_data" / "mlflow.db").unlink()
    done = ddx(stack, "deliver", "--once", "--rebuild", "--json")
    assert done.returncode == 0, done.stderr
    stack.start()
    ids = {run.data.tags.get("ddx.prediction_id") for run in stack.runs()}
    assert {one.id for one in told[1:]} <= ids
    mine = [run for run in stack.runs() if run.data.tags["ddx.prediction_id"] != told[0].id]
    assert check(stack, told[1:], mine) == []
    assert ddx(stack, "verify").returncode == 0


def test_logs_survive_a_restart_with_nothing_done_by_hand(stack: Stack) -> None:
    told = posted(stack, "restarted")
    for name in ("server", "deliverer", "MLflow"):
        stack.kill(name)
    assert stack.up is not None
    stack.up.kill()  # as when the machine goes
    stack.up.wait()
    stack.start()
    again = [stack.post(case=CASE, tracker=f"restarted-{number}") for number in range(3)]
    assert [one.body for one in again] == [one.body for one in told]


# --- security considerations ------------------------------------------------------------


def test_security_1_authentication_of_mlflow(tmp_path: Path) -> None:
    """That it is closed then: tests/system/test_secure.py."""
    pytest.importorskip("flask_wtf", reason="needs the extra `secure`")
    assert load({"DDX_MLFLOW_SECURE": "1"}, tmp_path).mlflow_secure


def test_security_2_https_is_asked_for_beyond_this_machine(tmp_path: Path) -> None:
    done = ddx(Stack(tmp_path, free_port(), free_port()), "serve", "--host", "0.0.0.0")
    assert done.returncode == 27
    assert "TLS" in done.stderr
    assert "API keys" in done.stderr


def test_security_3_encrypted_database_connections_find_their_certificate(tmp_path: Path) -> None:
    (tmp_path / "mlflow_server_config.py").write_text(
        'db_uri = "postgresql://u@h/d?sslmode=verify-full&sslrootcert=tls/ca.pem"\n'
    )
    assert load({}, tmp_path).db_uri.endswith(
        f"?sslmode=verify-full&sslrootcert={tmp_path.resolve()}/tls/ca.pem"
    )


def test_security_4_access_control_closes_with_the_first_key(tmp_path: Path) -> None:
    stack = Stack(tmp_path, free_port(), free_port())
    assert ddx(stack, "keys", "create", "--role", "read").returncode == 0
    assert json.loads(ddx(stack, "keys", "list", "--json").stdout)


def test_security_5_backup_encryption_keeps_the_keys_apart(stack: Stack, tmp_path: Path) -> None:
    """Encrypted to age recipients besides: tests/cli/test_backup_age.py."""
    posted(stack, "backed up", 1)
    archive = tmp_path / "one.tar"
    assert ddx(stack, "backup", str(archive)).returncode == 0
    assert CASE.encode() not in archive.read_bytes()
    (tmp_path / "one.tar.keys").rename(tmp_path / "elsewhere")
    assert ddx(stack, "restore", str(archive), "--drill").returncode != 0
    keys = str(tmp_path / "elsewhere")
    assert ddx(stack, "restore", str(archive), "--drill", "--keys", keys).returncode == 0


def _doctor(stack: Stack) -> dict[str, dict[str, object]]:
    told = json.loads(ddx(stack, "doctor", "--json").stdout)
    return {one["name"]: one for one in told["checks"]}
