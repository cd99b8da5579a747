"""Resident memory of the server and of the deliverer, whatever waits for delivery.

For each size of backlog: a journal with so many finished records, the server on it under load,
and the deliverer bringing it into MLflow's database, both looked at 20 times a second.

    python -m bench.memory [--sizes 1000,10000,100000] [--seconds 30]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from bench.load import free_port, process, rss_mb, wrk
from bench.tracking import QUIET, fill, mlflow_server
from ddx.adapters.sqlite_journal import SqliteJournal


def highest(pid: int, until: Callable[[], bool]) -> float:
    """Return the highest resident memory until then, in MB."""
    found = 0.0
    while not until():
        found = max(found, rss_mb(pid))
        time.sleep(0.05)
    return found


def measure(home: Path, size: int, seconds: float) -> tuple[float, float]:
    """Return the highest MB of the server and of the deliverer with a backlog of `size`."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = QUIET | {
        "DDX_HOME": str(home),
        "DDX_PORT": str(port),
        "DDX_BENCH_MODELS": "1",
        "DDX_DEFAULT_MODEL": "instant",
        "DDX_LOG_LEVEL": "warning",
        "DDX_MAX_BACKLOG_MB": "100000",
        "DDX_DELIVERY": "bulk",
    }
    with closing(SqliteJournal(home / "ddx_data", "main")) as journal:
        fill(journal, size)
    ddx = [sys.executable, "-m", "ddx"]
    serve = [*ddx, "serve", "--no-deliverer"]
    with process(serve, f"{address}/readyz", environment, home / "serve.log") as server:
        wrk(f"{address}/predict/v1", 8, 5)
        served = rss_mb(server.pid)
    with process([*ddx, "deliver"], None, environment, home / "deliver.log") as deliverer:
        end_at = time.monotonic() + seconds
        delivered = highest(deliverer.pid, lambda: time.monotonic() > end_at)
    return served, delivered


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--sizes", default="1000,10000,100000")
    options.add_argument("--seconds", type=float, default=30)
    asked = options.parse_args()
    first: tuple[float, float] | None = None
    print(f"{'backlog':>8}  {'server MB':>10} {'ratio':>6}  {'deliverer MB':>12} {'ratio':>6}")
    for size in map(int, asked.sizes.split(",")):
        with ExitStack() as stack:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ddx-bench-")))
            stack.enter_context(mlflow_server(home))
            (home / "mlflow_server_config.py").write_text(
                f"db_uri = 'sqlite:///{home}/mlflow.db'\nartifacts_path = '{home}/artifacts'\n"
            )
            server, deliverer = measure(home, size, asked.seconds)
        first = first or (server, deliverer)
        print(
            f"{size:>8}  {server:>10.1f} {server / first[0]:>6.2f}"
            f"  {deliverer:>12.1f} {deliverer / first[1]:>6.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
