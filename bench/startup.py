"""How long things take to start, as whole processes, beside MLflow started as its manual says.

python -m bench.startup [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.load import free_port, process
from bench.tracking import QUIET

DDX = [sys.executable, "-m", "ddx"]


def timed(command: list[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def until_ready(command: list[str], port: int, path: str, **environment: str) -> float:
    """Seconds until an address answers 200."""
    began = time.monotonic()
    with tempfile.NamedTemporaryFile() as log:
        url = f"http://127.0.0.1:{port}{path}"
        with process(command, url, QUIET | environment, Path(log.name), within_s=300):
            return time.monotonic() - began


def serve(home: Path) -> float:
    port = free_port()
    return until_ready(
        [*DDX, "serve", "--no-deliverer"],
        port,
        "/readyz",
        DDX_HOME=str(home),
        DDX_PORT=str(port),
        DDX_LOG_LEVEL="error",
    )


def up(home: Path) -> float:
    """Seconds until `ddx up` says that all is ready."""
    names = {"DDX_HOME": home, "DDX_PORT": free_port(), "DDX_MLFLOW_PORT": free_port()}
    environment = {**os.environ, **{name: str(value) for name, value in names.items()}}
    began = time.monotonic()
    with subprocess.Popen(
        [*DDX, "up"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as started:
        for line in started.stdout or ():
            if re.match("Ready after", line):
                break
        taken_s = time.monotonic() - began
        started.send_signal(signal.SIGTERM)
        started.communicate()
    return taken_s


def plain_mlflow(home: Path) -> float:
    """`mlflow server` with nothing set but its port and its stores."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{home}/plain.db"),
        *("--default-artifact-root", str(home / "plain")),
    ]
    began = time.monotonic()
    with (
        tempfile.NamedTemporaryFile() as log,
        process(
            command,
            f"http://127.0.0.1:{port}/health",
            # Without this it hangs for ever where there is no network.
            {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            Path(log.name),
            within_s=300,
        ),
    ):
        return time.monotonic() - began


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=3)
    asked = options.parse_args()
    results: dict[str, list[float]] = {}
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory(prefix="ddx-bench-") as folder:
            home = Path(folder)
            measures: dict[str, Callable[[], float]] = {
                "mlflow server, as it comes": lambda: plain_mlflow(home),  # noqa: B023
                "python -c 'import mlflow'": lambda: timed([sys.executable, "-c", "import mlflow"]),
                "ddx --help": lambda: timed([*DDX, "--help"]),
                "ddx serve, ready, first time": lambda: serve(home),  # noqa: B023
                "ddx serve, ready, again": lambda: serve(home),  # noqa: B023
                "ddx up, all ready": lambda: up(home),  # noqa: B023
            }
            for name, measure in measures.items():
                results.setdefault(name, []).append(measure())
    baseline = statistics.median(results["mlflow server, as it comes"])
    for name, found in results.items():
        median = statistics.median(found)
        print(f"{name:30} {median:7.2f} s   {median / baseline:5.2f} x MLflow as it comes")


if __name__ == "__main__":
    main()
