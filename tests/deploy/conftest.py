"""A server of its own process, whose log is a file, with a model behind a stub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.dspy_engine.stub import Provider, provider
from tests.system.stack import free_port

SETTINGS = """
bench_models = true
default_model = "instant"
log_level = "debug"

[models.local]
api_base = "{url}"
attempts = 2

[prices."openai/local"]
input = 1.0
output = 2.0
"""


@dataclass
class Served:
    """A running server, the model behind it, and what it has logged."""

    home: Path
    url: str
    stub: Provider

    @property
    def log(self) -> str:
        return (self.home / "server.log").read_text()

    def lines(self) -> list[dict[str, Any]]:
        """Return the log's lines; one that is no JSON is an error."""
        return [json.loads(line) for line in self.log.rpartition("\n")[0].splitlines()]

    def lines_of(self, request_id: str) -> list[dict[str, Any]]:
        """Return a request's lines, once its last is there: that comes after the reply."""
        give_up_at = time.monotonic() + 10
        while time.monotonic() < give_up_at:
            found = [one for one in self.lines() if one.get("request_id") == request_id]
            if found and found[-1].get("event") == "request_finished":
                return found
            time.sleep(0.02)
        raise AssertionError(f"request {request_id} has no last line; {self.log[-2000:]}")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("dspy", reason="needs the extra `llm`")
    home = tmp_path_factory.mktemp("served")
    base = tmp_path_factory.getbasetemp()
    # The index of the engine's own tests: making it takes seconds.
    shared = (base.parent if base.name.startswith("popen-") else base) / "knowledge"
    shared.mkdir(mode=0o700, exist_ok=True)
    (home / "ddx_data").mkdir(mode=0o700)
    (home / "ddx_data" / "cache").symlink_to(shared)
    port = free_port()
    names = {"DDX_HOME": str(home), "DDX_PORT": str(port)}
    with provider() as stub, (home / "server.log").open("wb") as log:
        (home / "ddx.toml").write_text(SETTINGS.format(url=stub.url))
        process = subprocess.Popen(
            [sys.executable, "-m", "ddx", "serve", "--no-deliverer"],
            env={**os.environ, **names},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        found = Served(home, f"http://127.0.0.1:{port}", stub)
        try:
            give_up_at = time.monotonic() + 60
            while "Uvicorn running" not in found.log:
                assert process.poll() is None, found.log
                assert time.monotonic() < give_up_at, found.log
                time.sleep(0.05)
            yield found
        finally:
            process.terminate()
            process.wait(30)
