"""A real MLflow server for tests."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ddx.adapters import mlflow_server

READY_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Stores:
    """Where MLflow keeps runs."""

    db_uri: str
    artifacts_path: str


@dataclass(frozen=True, kw_only=True)
class Tracking(Stores):
    """A running server and its stores."""

    uri: str
    process: subprocess.Popen[bytes]


@contextmanager
def a_server(
    folder: Path, db_uri: str | None = None, artifact_root: str = "./left/to/the/server"
) -> Iterator[Tracking]:
    """Start MLflow below `folder` on a free port, in a working directory of no meaning.

    Its own artifact root is relative: no run of ours may end there.
    """
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(parents=True)
    db_uri = db_uri or f"sqlite:///{folder / 'mlflow.db'}"
    port = a_free_port()
    environment = mlflow_server.environment(
        os.environ, db_uri=db_uri, artifacts_path=artifact_root, without=("PYTEST_CURRENT_TEST",)
    )
    with (folder / "server.log").open("wb") as output:
        process = subprocess.Popen(
            mlflow_server.command(host="127.0.0.1", port=port),
            cwd=elsewhere,
            env=environment,
            stdout=output,
            stderr=output,
        )
        try:
            _wait(f"http://127.0.0.1:{port}/health", process)
            yield Tracking(
                uri=f"http://127.0.0.1:{port}",
                db_uri=db_uri,
                artifacts_path=str(folder / "artifacts"),
                process=process,
            )
        finally:
            process.kill()
            process.wait()


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + READY_S
    while time.monotonic() < end_s:
        assert process.poll() is None, "the MLflow server died at start"
        with suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    raise TimeoutError(url)
