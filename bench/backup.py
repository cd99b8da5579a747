"""A backup while 50 requests a second go on, beside tar of the same bytes; then its restore.

The journal is filled with finished predictions, which are delivered into MLflow's SQLite database
first, so that the backup has to copy that, too. Requests come at their pace by a clock, whatever
the server does (an open loop), so that a slow one delays no other.

    python -m bench.backup [--predictions 100000] [--per-second 50] [--seconds 30]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx

from bench.load import fdatasync_ms, free_port, process
from bench.tracking import QUIET, fill, mlflow_server
from ddx.adapters.sqlite_journal import SqliteJournal

BODY = {"case": "A 24-year-old man has had fever for 3 days."}


async def _asked(url: str, per_second: float, until: Callable[[], bool]) -> list[float]:
    """Return the seconds that each request took, from when it was due."""
    taken: list[float] = []
    tasks: set[asyncio.Task[None]] = set()
    began = time.monotonic()
    async with httpx.AsyncClient(timeout=60) as client:

        async def one(due: float) -> None:
            answer = await client.post(url, json=BODY)
            answer.raise_for_status()
            taken.append(time.monotonic() - due)

        number = 0
        while not until():
            due = began + number / per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.add(asyncio.create_task(one(due)))
            number += 1
        await asyncio.gather(*tasks)
    return taken


def asked(url: str, per_second: float, until: Callable[[], bool]) -> list[float]:
    """Run the requests in an event loop of their own."""
    return asyncio.run(_asked(url, per_second, until))


def ddx(environment: dict[str, str], *words: str) -> Any:
    """Run a command to its end; return what it printed as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "ddx", *words, "--json"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"error: ddx {words[0]}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return json.loads(done.stdout)


def p99_ms(seconds: list[float]) -> float:
    """Return the 99th percentile in milliseconds."""
    return statistics.quantiles(seconds, n=100)[98] * 1000


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--predictions", type=int, default=100_000)
    options.add_argument("--per-second", type=float, default=50)
    options.add_argument("--seconds", type=float, default=30)
    chosen = options.parse_args()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ddx-bench-")))
        port = free_port()
        environment = QUIET | {
            "DDX_HOME": str(home),
            "DDX_PORT": str(port),
            "DDX_BENCH_MODELS": "1",
            "DDX_DEFAULT_MODEL": "instant",
            "DDX_LOG_LEVEL": "warning",
            "DDX_MAX_BACKLOG_MB": "100000",
            "DDX_DELIVERY": "bulk",
        }
        (home / "mlflow_server_config.py").write_text(
            f"db_uri = 'sqlite:///{home}/mlflow.db'\nartifacts_path = '{home}/artifacts'\n"
        )
        with closing(SqliteJournal(home / "ddx_data", "main")) as journal:
            fill(journal, chosen.predictions)
        with mlflow_server(home):
            ddx(environment, "deliver", "--once")
        measure(home, environment, port, chosen)


def measure(home: Path, environment: dict[str, str], port: int, chosen: argparse.Namespace) -> None:
    """Print what a backup costs those who ask meanwhile, and how long it takes."""
    url, archive = f"http://127.0.0.1:{port}", home / "backup.tar"
    serve = [sys.executable, "-m", "ddx", "serve", "--no-deliverer"]
    with process(serve, f"{url}/readyz", environment, home / "serve.log"):
        ask = f"{url}/predict/v1"
        warm_at = time.monotonic() + 5
        asked(ask, chosen.per_second, lambda: time.monotonic() > warm_at)
        end_at = time.monotonic() + chosen.seconds
        alone = asked(ask, chosen.per_second, lambda: time.monotonic() > end_at)
        made, took = threading.Event(), [0.0]

        def back_up() -> None:
            began = time.monotonic()
            ddx(environment, "backup", str(archive))
            took[0] = time.monotonic() - began
            made.set()

        threading.Thread(target=back_up, daemon=True).start()
        beside = asked(ask, chosen.per_second, made.is_set)
    size = archive.stat().st_size + archive.with_name("backup.tar.keys").stat().st_size
    names = ["mlflow.db", "ddx_data/journals", "ddx_data/keys"]
    began = time.monotonic()
    subprocess.run(["tar", "cf", "tar.tar", *names], cwd=home, check=True)
    subprocess.run(["sync", "tar.tar"], cwd=home, check=True)
    tar_s, tar_size = time.monotonic() - began, (home / "tar.tar").stat().st_size
    began = time.monotonic()
    ddx(environment, "backup", "verify", str(archive))
    verify_s = time.monotonic() - began
    began = time.monotonic()
    restored = ddx(environment, "restore", str(archive), "--drill")
    drill_s = time.monotonic() - began
    mb_s, tar_mb_s = size / took[0] / 2**20, tar_size / tar_s / 2**20
    print(
        f"{chosen.predictions} predictions, one fdatasync of 10 kB {fdatasync_ms(home):.2f} ms\n"
        f"p99 alone {p99_ms(alone):.1f} ms (n = {len(alone)}), slowest {max(alone) * 1000:.1f}\n"
        f"p99 beside a backup {p99_ms(beside):.1f} ms (n = {len(beside)}),"
        f" slowest {max(beside) * 1000:.1f}, {max(beside) * 1000 / p99_ms(alone):.2f} x p99 alone\n"
        f"backup {size / 2**20:.0f} MiB in {took[0]:.1f} s, {mb_s:.0f} MiB/s\n"
        f"tar of the same files {tar_size / 2**20:.0f} MiB in {tar_s:.1f} s, {tar_mb_s:.0f} MiB/s:"
        f" the backup has {mb_s / tar_mb_s:.2f} x its speed\n"
        f"verified in {verify_s:.1f} s; restored and compared in {drill_s:.1f} s:"
        f" {restored['predictions']} predictions, {len(restored['differences'])} differences"
    )


if __name__ == "__main__":
    main()
