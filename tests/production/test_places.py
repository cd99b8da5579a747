"""Post, deliver, read back, verify, erase, back up, restore: the same wherever the stores are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests import managed_mlflow
from tests.production import servers
from tests.system.stack import Reply, Stack, check, free_port

CASE = "Fever for 3 days, severe headache, pain behind the eyes, joint pain and a petechial rash."
PLACES = {
    "sqlite-files": (None, None),
    "postgres-tls-s3": (servers.postgres, servers.s3),
    "mariadb-tls-azure": (servers.mariadb, servers.azure),
    "postgres-tls-gcs": (servers.postgres, servers.gcs),
    "foreign-mlflow": (servers.foreign_mlflow, None),
    "databricks": (managed_mlflow.databricks_place, None),
    "sagemaker": (managed_mlflow.sagemaker_place, None),
}


@dataclass
class Elsewhere(Stack):
    """A stack whose runs and files are read as anybody reads them: by MLflow's client."""

    database: servers.Part | None = None

    def client(self) -> Any:
        from mlflow import MlflowClient, set_tracking_uri

        uri = self.environment.get("DDX_TRACKING_URI") or f"http://127.0.0.1:{self.mlflow_port}"
        if not uri.startswith("http"):
            set_tracking_uri(uri)  # plugins ask MLflow for it
        return MlflowClient(tracking_uri=uri)

    @property
    def experiment(self) -> str:
        on_databricks = self.environment.get("DDX_TRACKING_URI") == "databricks"
        return "/Shared/ddx-server-tracking" if on_databricks else "ddx-server-tracking"

    def artifacts(self, run: Any) -> dict[str, bytes]:
        folder = self.home / "read" / run.info.run_id
        folder.mkdir(parents=True, exist_ok=True)
        self.client().download_artifacts(run.info.run_id, "", str(folder))
        found = {one.name: one.read_bytes() for one in folder.iterdir()}
        shutil.rmtree(folder)
        return found

    def ddx(self, *words: str) -> subprocess.CompletedProcess[str]:
        names = {"DDX_HOME": str(self.home), "DDX_MLFLOW_PORT": str(self.mlflow_port)}
        return subprocess.run(
            [sys.executable, "-m", "ddx", *words],
            env={**os.environ, **self.environment, **names},
            capture_output=True,
            text=True,
            check=False,
        )

    def posted(self, count: int, prefix: str) -> list[Reply]:
        found = [self.post(case=CASE, tracker=f"{prefix}-{number}") for number in range(count)]
        assert [one.status for one in found] == [200] * count
        return found

    def faults(self, told: list[Reply]) -> list[str]:
        ids = {one.id for one in told}
        mine = [run for run in self.runs() if run.data.tags.get("ddx.prediction_id") in ids]
        return check(self, told, mine)


@pytest.fixture(scope="module", params=PLACES)
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Elsewhere]:
    parts, home = tmp_path_factory.mktemp("parts"), tmp_path_factory.mktemp("home")
    database, objects = PLACES[request.param]
    with ExitStack() as open_, pytest.MonkeyPatch.context() as patch:
        rows = open_.enter_context(database(parts / "database")) if database else None
        files = open_.enter_context(objects(parts / "objects")) if objects else None
        config = ""
        environment: dict[str, str] = {}
        if rows:
            environment |= rows.environment
        if files:
            environment |= files.environment
            config += f"artifacts_path = '{files.uri}'\n"
        if rows and "DDX_TRACKING_URI" not in environment:
            config += f"db_uri = '{rows.uri}'\n{rows.config}"
            (home / "db_password").write_text(servers.PASSWORD + "\n")
            (home / "db_password").chmod(0o600)
            (home / "tls").mkdir()
            shutil.copy(environment.pop("CA"), home / "tls" / "ca.pem")
        (home / "mlflow_server_config.py").write_text(config)
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        for name, value in environment.items():
            patch.setenv(name, value)
        found = Elsewhere(home, free_port(), free_port(), environment, database=rows)
        found.start(180)
        yield found
        if found.up is not None and found.up.poll() is None:
            found.stop()


def delivered(stack: Elsewhere, told: list[Reply]) -> None:
    ids = {one.id for one in told}

    def all_there() -> bool:
        finished = [run for run in stack.runs() if run.info.status == "FINISHED"]
        return ids <= {run.data.tags.get("ddx.prediction_id") for run in finished}

    stack.wait(all_there, 120)
    assert stack.faults(told) == []


def test_what_was_answered_is_in_mlflow_byte_for_byte(stack: Elsewhere) -> None:
    # Its login checks a password for a third of a second with each of a run's twenty requests.
    told = stack.posted(5 if "DDX_TRACKING_URI" in stack.environment else 20, "first")
    delivered(stack, told)
    done = stack.ddx("verify", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["differences"] == []


def test_one_is_erased_and_the_others_stay(stack: Elsewhere) -> None:
    told = stack.posted(3, "erased")
    delivered(stack, told)
    done = stack.ddx("erase", told[1].id, "--yes", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert stack.get(f"/predictions/{told[1].id}").status == 410
    assert stack.faults([told[0], told[2]]) == []
    ours = [r for r in stack.runs() if r.data.tags.get("ddx.prediction_id") == told[1].id]
    assert all(CASE not in str(stack.artifacts(run)) for run in ours)
    done = stack.ddx("verify", "--json")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_backup_is_verified_and_restores(stack: Elsewhere) -> None:
    told = stack.posted(3, "kept")
    delivered(stack, told)
    archive = str(stack.home / "kept" / "backup.tar")
    (stack.home / "kept").mkdir()
    for words in (
        ("backup", archive),
        ("backup", "verify", archive),
        ("restore", archive, "--drill"),
    ):
        done = stack.ddx(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)


def test_what_somebody_elses_mlflow_can_do_is_in_the_log_and_told_by_the_doctor(
    stack: Elsewhere,
) -> None:
    if "DDX_TRACKING_URI" not in stack.environment:
        pytest.skip("this place's MLflow is ours")
    logs = [one.read_text() for one in (stack.home / "ddx_data").glob("logs/*")]
    said = "".join([*logs, (stack.home / "up.log").read_text()]).splitlines()
    (line,) = [one for one in said if '"tracking_server"' in one]
    told = json.loads(line)
    assert {"mlflow", "experiment", "search_by_tag", "artifacts", "traces", "erasure"} <= set(told)
    done = stack.ddx("doctor", "--all", "--json")
    checks = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    for name in ("MLflow", "experiment", "search by tag", "artifacts", "trial run"):
        assert checks[name]["ok"], checks[name]
    assert told["mlflow"] == checks["MLflow"]["found"]


def test_a_database_that_starts_again_loses_nothing(stack: Elsewhere) -> None:
    if stack.database is None or stack.database.restart is None:
        pytest.skip("this place's database is not restarted here")
    told = stack.posted(5, "before")
    subprocess.run(
        stack.database.restart, user=stack.database.user, check=True, stdout=subprocess.DEVNULL
    )
    told += stack.posted(5, "after")
    delivered(stack, told)


def test_no_password_is_in_a_log_or_a_command_line(stack: Elsewhere) -> None:
    told = [one.read_text(errors="replace") for one in (stack.home / "ddx_data").glob("logs/*")]
    told.append((stack.home / "up.log").read_text())
    told += [
        one.read_text().replace("\0", " ")
        for one in Path("/proc").glob("[0-9]*/cmdline")
        if _is_ours(one, stack)
    ]
    secrets = (servers.PASSWORD, "p%40ss", servers.SECRET, servers.AZURITE_KEY, "a-password-of-16")
    assert [word for word in secrets for text in told if word in text] == []


def _is_ours(cmdline: Path, stack: Elsewhere) -> bool:
    try:
        return str(stack.home).encode() in (cmdline.parent / "environ").read_bytes()
    except OSError:
        return False
