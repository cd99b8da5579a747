"""The guide's manual commands, typed in our .venv on a machine without internet."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.system.stack import free_port

from ddx.adapters.mlflow_server import QUIET
from ddx.adapters.processes import environment_of, pids

MLFLOW = Path(sys.executable).with_name("mlflow")
READY_WITHIN_S = 120.0
# Nothing answers at discard(9): every way out of the machine is shut.
NO_WAY_OUT = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9") | {
    "NO_PROXY": "127.0.0.1,localhost"
}


def _healthy(port: int, path: str = "/health") -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


ROOT = Path(__file__).parents[2]
CASE = "A boy of 3 has seizures, microcephaly and hypotonia."


def _post(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/predict/v1", json.dumps({"case": CASE}), headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        return answer.headers["x-prediction-id"]
    finally:
        connection.close()


def _arrived(port: int, id: str) -> bool:
    """Whether MLflow shows the run, finished."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"http://127.0.0.1:{port}")
    experiment = client.get_experiment_by_name("ddx-server-tracking")
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    return [(run.info.run_name, run.info.status) for run in runs] == [(id, "FINISHED")]


def _until(done: Callable[[], bool], within_s: float) -> None:
    end = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.skipif(not MLFLOW.exists(), reason="needs the extra `tracking`")
def test_the_guides_two_commands_bring_a_run_into_mlflow_without_internet(tmp_path: Path) -> None:
    port, own_port = free_port(), free_port()
    # As the guide has it, but for the port, which may be in use here.
    command = (
        "mlflow server --backend-store-uri sqlite:///mlflow_data/mlflow.db "
        f"--default-artifact-root mlflow_data/artifacts --host 127.0.0.1 --port {port}"
    )
    typed = {name: value for name, value in os.environ.items() if name not in QUIET}
    path = f"{MLFLOW.parent}{os.pathsep}{typed['PATH']}"
    assert shutil.which("mlflow", path=path) == str(MLFLOW)
    with (tmp_path / "log").open("wb") as log:
        server_process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=tmp_path,
            env={**typed, **NO_WAY_OUT, "PATH": path},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + READY_WITHIN_S
        while not _healthy(port) and time.monotonic() < until:
            assert server_process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.2)
        assert _healthy(port), (tmp_path / "log").read_text()
        assert (tmp_path / "mlflow_data" / "mlflow.db").is_file()
        names = {"DDX_HOME": str(tmp_path), "DDX_PORT": str(own_port), "DDX_MLFLOW_PORT": str(port)}
        server = subprocess.Popen(
            [sys.executable, str(ROOT / "ddx_server.py")], env={**typed, **NO_WAY_OUT, **names}
        )
        try:
            _until(lambda: _healthy(own_port, "/healthz"), READY_WITHIN_S)
            id = _post(own_port)
            _until(lambda: _arrived(port, id), READY_WITHIN_S)
        finally:
            server.terminate()
            assert server.wait(60) == -signal.SIGTERM
        assert not [pid for pid in pids() if environment_of(pid).get("DDX_HOME") == str(tmp_path)]
    finally:
        os.killpg(server_process.pid, signal.SIGKILL)
        server_process.wait()
