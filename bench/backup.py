"""A backup while 50 requests a second go on, and an increment, beside tar of the same files.

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
from subprocess import PIPE
from typing import Any

import httpx

from bench.load import fdatasync_ms, free_port, process
from bench.tracking import QUIET, fill, mlflow_server
from ddx.adapters.sqlite_journal import SqliteJournal

BODY = {"case": "A 24-year-old man has had fever for 3 days."}


WARM_S = 1.0
"""Requests before it are not counted: a new client connects in it."""


async def _asked(
    url: str, per_second: float, until: Callable[[], bool]
) -> list[tuple[float, float]]:
    """Return of each request when it was due, and the seconds from then to its answer."""
    taken: list[tuple[float, float]] = []
    tasks: set[asyncio.Task[None]] = set()
    began = time.monotonic()
    async with httpx.AsyncClient(timeout=60) as client:

        async def one(due: float) -> None:
            answer = await client.post(url, json=BODY)
            answer.raise_for_status()
            taken.append((due, time.monotonic() - due))

        number = 0
        while not until():
            due = began + number / per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.add(asyncio.create_task(one(due)))
            number += 1
        await asyncio.gather(*tasks)
    return taken


def asked(url: str, per_second: float, until: Callable[[], bool]) -> list[tuple[float, float]]:
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
    return statistics.quantiles(seconds, n=100, method="inclusive")[98] * 1000


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
    url, archive, later = f"http://127.0.0.1:{port}", home / "backup.tar", home / "later.tar"
    serve = [sys.executable, "-m", "ddx", "serve", "--no-deliverer"]
    with process(serve, f"{url}/readyz", environment, home / "serve.log"):
        ask = f"{url}/predict/v1"

        def beside(action: Callable[[], object]) -> tuple[float, list[float]]:
            """Return the seconds that an action took, and those of the requests meanwhile."""
            made, times = threading.Event(), list[float]()

            def act() -> None:
                time.sleep(WARM_S)
                times.append(time.monotonic())
                action()
                times.append(time.monotonic())
                made.set()

            threading.Thread(target=act, daemon=True).start()
            found = asked(ask, chosen.per_second, made.is_set)
            began, ended = times
            return ended - began, [taken for due, taken in found if due >= began]

        beside(lambda: time.sleep(5))
        _, alone = beside(lambda: time.sleep(chosen.seconds))
        tar_s, under_tar = beside(lambda: tar(home))
        took_s, under_backup = beside(lambda: ddx(environment, "backup", str(archive)))
        beside(lambda: time.sleep(chosen.seconds))
        later_s, under_later = beside(
            lambda: ddx(environment, "backup", str(later), "--since", str(archive))
        )
    size, tar_size = with_keys(archive), (home / "tar.tar").stat().st_size
    began = time.monotonic()
    ddx(environment, "backup", "verify", str(archive), str(later))
    verify_s = time.monotonic() - began
    began = time.monotonic()
    restored = ddx(environment, "restore", str(archive), str(later), "--drill")
    drill_s = time.monotonic() - began
    p99 = p99_ms(alone)

    def said(name: str, found: list[float]) -> str:
        slowest = max(found) * 1000
        return (
            f"{name}: p99 {p99_ms(found):.1f} ms (n = {len(found)}), slowest {slowest:.1f},"
            f" {slowest / p99:.2f} x the p99 of alone"
        )

    # Of the same files: what follows from a journal is not put in twice.
    mb_s, tar_mb_s = tar_size / took_s / 2**20, tar_size / tar_s / 2**20
    print(
        f"{chosen.predictions} predictions, one fdatasync of 10 kB {fdatasync_ms(home):.2f} ms\n"
        f"{said('alone', alone)}\n"
        f"{said('beside tar', under_tar)}\n"
        f"{said('beside a backup', under_backup)}\n"
        f"{said('beside an increment', under_later)}\n"
        f"tar of {tar_size / 2**20:.0f} MiB in {tar_s:.1f} s, {tar_mb_s:.0f} MiB/s\n"
        f"backup of them in {took_s:.1f} s, {mb_s:.0f} MiB/s, {mb_s / tar_mb_s:.2f} x the speed of"
        f" tar; it has {size / 2**20:.0f} MiB\n"
        f"increment {with_keys(later) / 2**20:.1f} MiB in {later_s:.1f} s\n"
        f"both verified in {verify_s:.1f} s; restored and compared in {drill_s:.1f} s:"
        f" {restored['predictions']} predictions, {len(restored['differences'])} differences"
    )


def tar(home: Path) -> None:
    """Put the same files into a tar file, to the disk: the copy that cannot be trusted."""
    names = ["mlflow.db", "ddx_data/journals", "ddx_data/keys"]
    # It ends with 1 where a file changed while it was read.
    done = subprocess.run(["tar", "cf", "tar.tar", *names], cwd=home, check=False, stderr=PIPE)
    if done.returncode > 1:
        sys.exit(f"error: tar: {done.stderr[-500:]!r}")
    subprocess.run(["sync", "tar.tar"], cwd=home, check=True)


def with_keys(archive: Path) -> int:
    """Return the bytes of both files of a backup."""
    return archive.stat().st_size + archive.with_name(f"{archive.name}.keys").stat().st_size


if __name__ == "__main__":
    main()
