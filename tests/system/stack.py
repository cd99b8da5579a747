"""A whole installation in a folder of its own: MLflow, server and deliverer under `ddx up`."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PARAMS = {
    "model_name",
    "case_length",
    "llm_model",
    "llm_max_tokens",
    "llm_temperature",
    "llm_top_k",
    "prompt_config_index",
}
ARTIFACTS = {
    "input_case.txt",
    "prompt_used.txt",
    "raw_dspy_output.txt",
    "final_response.txt",
    "record.json",
}
WORDS = {"server": "serve", "deliverer": "deliver", "MLflow": "mlflow_server"}
"""Process -> what its command line holds."""


@dataclass
class Reply:
    """What a client was told."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def id(self) -> str:
        return self.headers.get("x-prediction-id", "")

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Stack:
    """One installation. Its processes can be killed one by one."""

    home: Path
    port: int
    mlflow_port: int
    environment: dict[str, str] = field(default_factory=dict)
    up: subprocess.Popen[bytes] | None = None

    def start(self, ready_within_s: float = 120, *options: str) -> None:
        names = {
            "DDX_HOME": str(self.home),
            "DDX_PORT": str(self.port),
            "DDX_MLFLOW_PORT": str(self.mlflow_port),
        }
        began = (self.home / "up.log").stat().st_size if (self.home / "up.log").exists() else 0
        with (self.home / "up.log").open("ab") as log:
            self.up = subprocess.Popen(
                [sys.executable, "-m", "ddx", "up", *options],
                env={**os.environ, **names, **self.environment},
                cwd=self.home,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.wait(
            lambda: b"Ready after" in (self.home / "up.log").read_bytes()[began:], ready_within_s
        )

    def stop(self) -> int:
        assert self.up is not None
        self.up.send_signal(signal.SIGTERM)
        return self.up.wait(60)

    def pid(self, name: str) -> int | None:
        """The process of this installation that runs `name` now."""
        assert self.up is not None
        children = Path(f"/proc/{self.up.pid}/task/{self.up.pid}/children").read_text().split()
        for child in children:
            with suppress(OSError):
                line = Path(f"/proc/{child}/cmdline").read_text().split("\0")
                if any(word.endswith(WORDS[name]) for word in line):
                    return int(child)
        return None

    def kill(self, name: str) -> None:
        """Kill -9."""
        pid = self.pid(name)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def post(self, timeout_s: float = 60, **body: Any) -> Reply:
        """Post one request. Raises OSError or HTTPException where no answer came."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/predict/v1", json.dumps(body), headers)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, answer.read(), found)
        finally:
            connection.close()

    def get(self, path: str, port: int | None = None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=20)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, answer.read(), found)
        finally:
            connection.close()

    def wait(self, done: Callable[[], bool], within_s: float) -> float:
        """Wait until `done`; return how long it took. Fails with the log's end."""
        began = time.monotonic()
        while time.monotonic() - began < within_s:
            # Whatever is asked may be dead at this moment: that is what is waited out.
            with suppress(Exception):
                if done():
                    return time.monotonic() - began
            assert self.up is None or self.up.poll() is None, self.last_words()
            time.sleep(0.05)
        raise AssertionError(f"not within {within_s} s; {self.last_words()}")

    def last_words(self) -> str:
        return (self.home / "up.log").read_text()[-2000:]

    # --- what MLflow holds --------------------------------------------------------------

    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=f"http://127.0.0.1:{self.mlflow_port}")

    @property
    def experiment(self) -> str:
        return "ddx-server-tracking"

    def runs(self) -> list[Any]:
        """Every active run of the experiment, through MLflow's own client."""
        client = self.client()
        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is None:
            return []
        found: list[Any] = []
        token = None
        while True:
            page = client.search_runs(
                [experiment.experiment_id], max_results=1000, page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found

    def artifacts(self, run: Any) -> dict[str, bytes]:
        """Every artifact of a run, from where MLflow says that it is."""
        folder = Path(run.info.artifact_uri.removeprefix("file://"))
        return {p.name: p.read_bytes() for p in folder.iterdir()}


def check(stack: Stack, told: list[Reply], runs: list[Any]) -> list[str]:
    """Return every way in which MLflow does not hold what clients were told."""
    faults = []
    by_id: dict[str, list[Any]] = {}
    for run in runs:
        by_id.setdefault(run.data.tags.get("ddx.prediction_id", "?"), []).append(run)
        if run.info.status == "RUNNING":
            faults.append(f"{run.info.run_name}: left RUNNING")
    faults += [f"{id}: doubled" for id, found in by_id.items() if len(found) > 1]
    for reply in told:
        if not 200 <= reply.status < 300:
            continue
        if reply.id in by_id:
            found = by_id[reply.id][0]
            faults += [f"{reply.id}: {why}" for why in compare(stack, reply, found)]
        else:
            faults.append(f"{reply.id}: lost")
    return faults


def compare(stack: Stack, reply: Reply, run: Any) -> Iterator[str]:
    """Yield what a run lacks of what a client was told."""
    from ddx.core.codec import read_record_json

    if run.info.status != "FINISHED" or run.data.metrics.get("success") != 1.0:
        yield f"{run.info.status}, {run.data.metrics}"
    if set(run.data.params) != PARAMS or "processing_time" not in run.data.metrics:
        yield "incomplete params or metrics"
    files = stack.artifacts(run)
    if set(files) != ARTIFACTS:
        yield f"artifacts {sorted(files)}"
        return
    if files["final_response.txt"] != reply.body:
        yield "another answer than the client was told"
    record, digest = read_record_json(files["record.json"].decode())
    if run.data.tags["ddx.digest"] != digest or record.id != reply.id:
        yield "another digest"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(home: Path, **environment: str) -> Iterator[Stack]:
    """A started stack, stopped at the end."""
    stack = Stack(home, free_port(), free_port(), environment)
    stack.start()
    try:
        yield stack
    finally:
        if stack.up is not None and stack.up.poll() is None:
            stack.stop()
