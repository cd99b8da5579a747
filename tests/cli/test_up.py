"""`ddx up` with the real MLflow, server and deliverer: nothing is left, whatever ends it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import local_llm
from tests.system.stack import Stack, free_port

from ddx.adapters import processes
from ddx.cli.exits import EXIT_CODE
from ddx.wiring.site import role_in

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")
READY_WITHIN_S = 120.0


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    found = Stack(tmp_path, free_port(), free_port())
    yield found
    for pid in left(found):
        os.kill(pid, signal.SIGKILL)
    if found.up is not None:
        found.up.wait()


def left(stack: Stack) -> dict[int, str | None]:
    """Return what runs for this home: its role by its pid."""
    return {
        pid: role_in(command.split())
        for pid in processes.pids()
        if processes.environment_of(pid).get("DDX_HOME") == str(stack.home)
        and (command := processes.command_of(pid))
    }


def ddx(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    names = {
        "DDX_HOME": str(stack.home),
        "DDX_PORT": str(stack.port),
        "DDX_MLFLOW_PORT": str(stack.mlflow_port),
    }
    return subprocess.run(
        [sys.executable, "-m", "ddx", *words],
        env={**os.environ, **names},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_whole_is_started_supervised_and_stopped(stack: Stack) -> None:
    stack.start(READY_WITHIN_S)
    log = stack.home / "up.log"
    assert f"http://127.0.0.1:{stack.port}\n" in log.read_text()
    assert f"http://127.0.0.1:{stack.mlflow_port}\n" in log.read_text()
    roles = sorted(map(str, left(stack).values()))
    assert roles == ["deliver", "mlflow", "serve", "up"], "one process each"

    second = ddx(stack, "up")
    server = stack.pid("server")
    assert second.returncode == EXIT_CODE["port_in_use"]
    assert f"port {stack.port} is held by pid {server} (" in second.stderr

    elsewhere = ddx(stack, "up", "--port", str(free_port()), "--mlflow-port", str(free_port()))
    assert elsewhere.returncode == EXIT_CODE["already_running"]
    assert f"pid {stack.up.pid} (" in elsewhere.stderr  # type: ignore[union-attr]
    beside = ddx(stack, "serve", "--port", str(free_port()))
    assert beside.returncode == EXIT_CODE["journal_in_use"]
    assert f"process {server} writes the journal 'main'" in beside.stderr
    assert "Traceback" not in beside.stderr

    asked = ddx(stack, "predict", "Fever for 3 days, headache and a petechial rash.", "--json")
    assert asked.returncode == 0, asked.stderr
    id = json.loads(asked.stdout)["prediction_id"]
    stack.wait(lambda: id in {run.info.run_name for run in stack.runs()}, 30)
    waiting = ddx(stack, "deliver", "--dry-run", "--json")
    assert json.loads(waiting.stdout) == {"would_be_delivered": 0}

    doctor = ddx(stack, "doctor", "--json")
    assert json.loads(doctor.stdout)["ok"], doctor.stdout

    for name in ("server", "deliverer", "MLflow"):
        stack.kill(name)
    for name in ("server", "deliverer", "MLflow"):
        again = f"{name} is ready"
        stack.wait(lambda again=again: log.read_text().count(again) == 2, READY_WITHIN_S)  # type: ignore[misc]
        assert f"{name} ended (signal 9); it is started again in" in log.read_text()
    assert stack.get("/readyz").status == 200

    assert stack.stop() == 0
    assert left(stack) == {}
    stopped = re.findall(r"ddx: (.*) stopped", log.read_text())
    assert stopped == ["server", "deliverer", "MLflow", "all"]
    assert (stack.home / "ddx_data" / "up.pid").read_text() == ""
    for folder in ("ddx_data", "ddx_data/logs", "mlflow_data", "mlflow_data/artifacts"):
        assert (stack.home / folder).stat().st_mode & 0o777 == 0o700, folder
    assert (stack.home / "mlflow_data" / "mlflow.db").stat().st_mode & 0o777 == 0o600


def test_nothing_outlives_a_supervisor_that_is_killed(stack: Stack) -> None:
    stack.start(READY_WITHIN_S)
    assert len(left(stack)) == 4
    assert stack.up is not None

    stack.up.kill()
    stack.up.wait()
    stack.up = None

    stack.wait(lambda: left(stack) == {}, within_s=5)


def test_an_mlflow_that_would_lose_its_login_is_told_before_it_starts(stack: Stack) -> None:
    login = stack.home / "ddx_data" / "mlflow_auth"
    login.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", stack.port)):  # so that nothing is started
        assert "mlflow_secure = true" not in ddx(stack, "up").stdout
        (login / "password").write_text("made at a start with --secure")
        found = ddx(stack, "up")
        assert found.returncode == EXIT_CODE["port_in_use"]
        assert "mlflow_secure = true" in found.stdout
        (stack.home / "ddx.toml").write_text("mlflow_secure = true\n")
        assert "mlflow_secure = true" not in ddx(stack, "up").stdout


def test_a_start_that_cannot_succeed_ends_with_the_log_of_what_failed(stack: Stack) -> None:
    (stack.home / "ddx_data").mkdir()
    (stack.home / "ddx_data" / "keys").write_text("not a folder")

    done = ddx(stack, "up")

    assert done.returncode == EXIT_CODE["not_ready"]
    assert "server ended" in done.stdout
    assert "server.log ends:" in done.stderr
    assert left(stack) == {}


@pytest.mark.skipif(local_llm.missing() is not None, reason=str(local_llm.missing()))
def test_a_small_model_is_served_beside_and_its_answer_kept(stack: Stack) -> None:
    port = free_port()
    (stack.home / "ddx.toml").write_text(
        f"[models.local]\napi_base = 'http://127.0.0.1:{port}/v1'\nmax_tokens = 40\nattempts = 1\n"
    )
    stack.start(READY_WITHIN_S, "--local-llm")
    assert "medically worthless" in (stack.home / "up.log").read_text()
    assert "local-llm" in left(stack).values()

    # 40 tokens are too few for a differential: a real answer, cut off, and told as a failure.
    reply = stack.post(case="A man of 24 has had fever for 3 days.", model_name="local")
    assert reply.status == 502
    assert "max_tokens" in reply.json()["detail"]
    stack.wait(lambda: reply.id in {run.info.run_name for run in stack.runs()}, 30)
    (run,) = [run for run in stack.runs() if run.info.run_name == reply.id]
    assert run.data.params["llm_max_tokens"] == "40"
    assert run.data.metrics["output_tokens"] == 40

    assert stack.stop() == 0
    assert left(stack) == {}


def test_a_small_model_somewhere_else_is_not_served_here(stack: Stack) -> None:
    (stack.home / "ddx.toml").write_text("[models.local]\napi_base = 'http://10.0.0.1:80/v1'\n")
    said = ddx(stack, "up", "--local-llm")
    assert said.returncode == EXIT_CODE["bad_settings"]
    assert "127.0.0.1" in said.stderr
