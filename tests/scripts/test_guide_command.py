"""The guide's manual `mlflow server`, typed in our .venv on a machine without internet."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddx.adapters.mlflow_server import QUIET

MLFLOW = Path(sys.executable).with_name("mlflow")
READY_WITHIN_S = 120.0
# Nothing answers at discard(9): every way out of the machine is shut.
NO_WAY_OUT = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9") | {
    "NO_PROXY": "127.0.0.1,localhost"
}


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.mark.skipif(not MLFLOW.exists(), reason="needs the extra `tracking`")
def test_the_guides_command_becomes_ready_without_internet(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
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
    finally:
        os.killpg(server_process.pid, signal.SIGKILL)
        server_process.wait()
