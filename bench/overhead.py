"""What keeping everything costs a request.

The server as it is, beside the same server with a journal in memory, beside the guide's design,
with an engine that answers at once; a deliverer runs beside the first two.

    python -m bench.overhead [--seconds 8] [--rounds 3] [--connections 1,8,32,64]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.load import Load, fdatasync_ms, free_port, process, wrk
from bench.tracking import QUIET, mlflow_server


@contextmanager
def ddx_server(home: Path, tracking_uri: str, journal: str) -> Iterator[str]:
    """Our server and its deliverer; yield the address of predict."""
    port = free_port()
    environment = QUIET | {
        "DDX_HOME": str(home),
        "DDX_PORT": str(port),
        "DDX_TRACKING_URI": tracking_uri,
        "DDX_BENCH_MODELS": "1",
        "DDX_DEFAULT_MODEL": "instant",
        "DDX_JOURNAL": journal,
        "DDX_LOG_LEVEL": "warning",
        "DDX_MAX_BACKLOG_MB": "100000",
    }
    ddx = [sys.executable, "-m", "ddx"]
    serve = [*ddx, "serve", "--no-deliverer"]
    address = f"http://127.0.0.1:{port}"
    with (
        process(
            serve,
            f"{address}/readyz",
            environment,
            home / f"{journal}.log",
        ),
        process([*ddx, "deliver"], None, environment, home / "deliver.log"),
    ):
        yield f"{address}/predict/v1"


@contextmanager
def guide_server(home: Path, tracking_uri: str) -> Iterator[str]:
    """The guide's design; yield the address of predict."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.guide_app:app", "--port", str(port)]
    environment = QUIET | {"MLFLOW_TRACKING_URI": tracking_uri}
    address = f"http://127.0.0.1:{port}"
    with process(command, f"{address}/readyz", environment, home / "guide.log"):
        yield f"{address}/predict/v1"


def median(loads: list[Load], name: str) -> float:
    return float(statistics.median(getattr(load, name) for load in loads))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=8)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--connections", default="1,8,32,64")
    asked = options.parse_args()
    counts = [int(count) for count in asked.connections.split(",")]
    results: dict[tuple[str, int], list[Load]] = {}
    with tempfile.TemporaryDirectory(prefix="ddx-bench-") as folder, ExitStack() as stack:
        home = Path(folder)
        tracking = stack.enter_context(mlflow_server(home))
        sync_ms = []
        for _ in range(asked.rounds):
            for name in ("durable", "memory", "guide"):
                with ExitStack() as one:
                    if name == "guide":
                        url = one.enter_context(guide_server(home, tracking))
                    else:
                        place = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=home))
                        (place / "mlflow_server_config.py").write_text(
                            f"db_uri = 'sqlite:///{home}/mlflow.db'\n"
                            f"artifacts_path = '{home}/artifacts'\n"
                        )
                        journal = "sqlite" if name == "durable" else "memory"
                        url = one.enter_context(ddx_server(place, tracking, journal))
                    wrk(url, 4, 1)
                    for count in counts:
                        results.setdefault((name, count), []).append(wrk(url, count, asked.seconds))
            sync_ms.append(fdatasync_ms(home))
    report(results, counts, statistics.median(sync_ms), asked.rounds)


def report(
    results: dict[tuple[str, int], list[Load]], counts: list[int], sync_ms: float, rounds: int
) -> None:
    print(f"one fdatasync of 10 kB: {sync_ms:.2f} ms (median); {rounds} rounds, medians below")
    print(f"{'conn':>4}  {'':8} {'per s':>8} {'p50 ms':>8} {'p99 ms':>8} {'refused':>8}")
    for count in counts:
        for name in ("durable", "memory", "guide"):
            loads = results[name, count]
            print(
                f"{count:>4}  {name:8} {median(loads, 'per_second'):>8.1f}"
                f" {median(loads, 'p50_ms'):>8.2f} {median(loads, 'p99_ms'):>8.1f}"
                f" {sum(load.refused for load in loads):>8}"
            )
        durable = median(results["durable", count], "per_second")
        memory = median(results["memory", count], "per_second")
        guide = median(results["guide", count], "per_second")
        added = median(results["durable", count], "p50_ms") - median(
            results["memory", count], "p50_ms"
        )
        beside = f"{durable / guide:.0f} x" if guide else "without end beside"
        print(
            f"{count:>4}  ratio    {durable / memory:.2f} x memory, {beside} the"
            f" guide's design; p50 adds {added:.2f} ms = {added / sync_ms:.1f} syncs"
        )


if __name__ == "__main__":
    main()
