"""MLflow's rows into a server's database, its files into an object store, and compared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.production import servers
from tests.production.test_places import Elsewhere
from tests.system.stack import Reply, Stack, check, free_port

Database = Callable[[Path], AbstractContextManager[servers.Part]]
CASE = "Fever for 3 days, severe headache, pain behind the eyes, joint pain and a petechial rash."


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Elsewhere]:
    home = tmp_path / "home"
    home.mkdir()
    found = Elsewhere(home, free_port(), free_port())
    yield found
    if found.up is not None and found.up.poll() is None:
        found.stop()


def ddx(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    names = {"DDX_HOME": str(stack.home), "DDX_MLFLOW_PORT": str(stack.mlflow_port)}
    return subprocess.run(
        [sys.executable, "-m", "ddx", *words],
        env={**os.environ, **names},
        capture_output=True,
        text=True,
        check=False,
    )


def posted(stack: Stack, prefix: str) -> list[Reply]:
    found = [stack.post(case=CASE, tracker=f"{prefix}-{number}") for number in range(4)]
    stack.wait(lambda: check(stack, found, _of(stack, found)) == [], 60)
    return found


def _of(stack: Stack, told: list[Reply]) -> list[object]:
    ids = {one.id for one in told}
    return [run for run in stack.runs() if run.data.tags.get("ddx.prediction_id") in ids]


def verified(stack: Stack) -> None:
    done = ddx(stack, "verify", "--json")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("database", [servers.postgres, servers.mariadb])
def test_changing_db_uri_keeps_everything(stack: Stack, tmp_path: Path, database: Database) -> None:
    stack.start()
    told = posted(stack, "before")
    done = ddx(stack, "migrate", "--to", "postgresql://ddx@127.0.0.1:1/x")
    assert done.returncode == 55
    assert "Somebody delivers" in done.stderr
    stack.stop()
    with database(tmp_path / "database") as part:
        (stack.home / "db_password").write_text(servers.PASSWORD)
        (stack.home / "tls").mkdir()
        shutil.copy(part.environment["CA"], stack.home / "tls" / "ca.pem")
        asked = ("migrate", "--to", part.uri, "--password-file", "db_password")
        done = ddx(stack, *asked, "--json")
        assert done.returncode == 0, done.stderr
        rows = {one["table"]: one["rows"] for one in json.loads(done.stdout)["tables"]}
        assert rows["runs"] == 4
        assert rows["params"] == 28
        again = ddx(stack, *asked)
        assert again.returncode == 55
        assert "name an empty one" in again.stderr
        config = stack.home / "mlflow_server_config.py"
        config.write_text(f"db_uri = '{part.uri}'\n{part.config}")
        assert json.loads(ddx(stack, "db", "status", "--json").stdout)["ok"]
        stack.start()
        told += posted(stack, "after")
        assert check(stack, told, stack.runs()) == []
        assert len(stack.runs()) == 8
        verified(stack)
        stack.stop()


def test_changing_artifacts_path_is_refused_until_the_files_are_moved(
    stack: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.start()
    told = posted(stack, "before")
    stack.stop()
    with servers.s3(tmp_path / "objects") as part:
        for name, value in part.environment.items():
            monkeypatch.setenv(name, value)
        (stack.home / "mlflow_server_config.py").write_text(f"artifacts_path = '{part.uri}'\n")
        refused = ddx(stack, "up", "--port", str(stack.port))
        assert refused.returncode == 55
        assert "ddx migrate --artifacts" in refused.stderr
        done = ddx(stack, "migrate", "--artifacts", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["files"] == 20
        (stack.home / "mlflow_data" / "artifacts").rename(stack.home / "put-aside")
        stack.start()
        told += posted(stack, "after")
        assert check(stack, told, stack.runs()) == []
        assert len(list((tmp_path / "objects").rglob("record.json"))) == 8
        verified(stack)
        stack.stop()


def test_the_tables_revision_is_shown_and_upgraded_after_a_copy(stack: Stack) -> None:
    stack.start()
    told = posted(stack, "before")
    stack.stop()
    done = ddx(stack, "db", "upgrade", "--json")
    assert done.returncode == 0, done.stderr
    copy = Path(json.loads(done.stdout)["copy"])
    assert copy.stat().st_size > 100_000
    stack.start()
    assert check(stack, told, stack.runs()) == []
