"""A real object store for tests: rclone's, which checks signatures, and whose objects are files."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.tracking_server import a_free_port

KEY_ID, SECRET = "ourkey", "oursecret"
READY_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Store:
    """A running server with one bucket, `bucket`."""

    bucket: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes]


@contextmanager
def a_store(folder: Path, port: int | None = None) -> Iterator[Store]:
    """Start one below `folder`, on a free port."""
    rclone = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if rclone is None:
        pytest.skip("needs rclone")
    pytest.importorskip("boto3", reason="needs boto3")
    address = f"127.0.0.1:{port or a_free_port()}"
    (folder / "bucket").mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [
            *(rclone, "serve", "s3", str(folder), "--addr", address),
            *("--auth-key", f"{KEY_ID},{SECRET}"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(address, process)
        environment = {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_S3_ENDPOINT_URL": f"http://{address}",
        }
        yield Store(bucket=folder / "bucket", environment=environment, process=process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    host, port = address.split(":")
    give_up_at = time.monotonic() + READY_S
    while time.monotonic() < give_up_at and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"the object store was not ready within {READY_S} s")
