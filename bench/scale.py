"""How many durable predictions a second `ddx serve --workers N` answers.

An engine that burns 5 ms of processor time for each, delivery paused while it is measured; each
number of workers in turn, in each round. A prediction counts where its client got a 2xx, and the
journals are counted beside. wrk makes the load: what processor time it took is printed, too, and
what the server's processes took for each prediction, which other work on the machine does not
change.

With --ray: the instant engine, asked of one process, of two workers, and of two replicas of Ray
Serve behind HAProxy.

    python -m bench.scale [--workers 1,2] [--seconds 10] [--rounds 3] [--connections 32]
                          [--cpu-ms 5] [--trackers] [--drain] [--ray]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from os import environ, sysconf
from pathlib import Path

from bench import worked
from bench.load import Load, fdatasync_ms, free_port, process, wrk
from ddx.adapters.sqlite_journal import SqliteJournalReader, find_journals
from ddx.core.chain import Kind

DDX = [sys.executable, "-m", "ddx"]
RAY_STARTS_S = 300


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One number of workers in one round."""

    load: Load
    kept: int
    """Finished records in all journals."""
    wrk_cores: float
    """Processor seconds of wrk in a second."""
    cpu_ms: float
    """Processor time of all server processes for one prediction."""
    drain: str


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a server is started."""

    workers: int
    ray: bool = False

    def __str__(self) -> str:
        return f"{self.workers} ray" if self.ray else str(self.workers)


def measure(home: Path, way: Way, asked: argparse.Namespace) -> Measured:
    port = free_port()
    environment = worked.settings(home, port, way.workers, asked.cpu_ms)
    address = f"http://127.0.0.1:{port}"
    serve = [*DDX, "serve", "--no-deliverer", *(["--engine", "ray"] if way.ray else [])]
    ready = f"{address}/readyz"
    with process(serve, ready, environment, home / "serve.log", RAY_STARTS_S) as parent:
        url = f"{address}/predict/v1"
        wrk(url, asked.connections, 2, trackers="warm" if asked.trackers else "")
        before, began_s, spent_s = kept(home), _children_s(), _tree_s(parent.pid)
        trackers = "visit" if asked.trackers else ""
        load = wrk(url, asked.connections, asked.seconds, trackers=trackers)
        wrk_cores = (_children_s() - began_s) / asked.seconds
        spent_s = _tree_s(parent.pid) - spent_s
        done = kept(home) - before
        if way.ray:
            # Its processes end in order, not all at once.
            parent.terminate()
            parent.wait(RAY_STARTS_S)
    return Measured(
        load=load,
        kept=done,
        wrk_cores=wrk_cores,
        cpu_ms=1000 * spent_s / max(1, done),
        drain=drain(environment) if asked.drain else "",
    )


def kept(home: Path) -> int:
    found = 0
    for instance in find_journals(home / "ddx_data"):
        with closing(SqliteJournalReader(home / "ddx_data", instance)) as reader:
            after = 0
            while events := reader.events(after, 10_000):
                found += sum(event.kind is Kind.FINISHED for event in events)
                after = events[-1].seq
    return found


def drain(environment: dict[str, str]) -> str:
    """Bring all of it into an MLflow database; say how long that took."""
    began_s = time.monotonic()
    command = [*DDX, "deliver", "--once", "--rebuild"]
    done = subprocess.run(
        command, env={**environ, **environment}, capture_output=True, text=True, check=True
    )
    return f"{' '.join(done.stdout.split())} in {time.monotonic() - began_s:.0f} s"


def _children_s() -> float:
    """Processor time of children that have ended: between two calls around wrk, of wrk."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tree_s(pid: int) -> float:
    """Processor time of a process and its children that run."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(_tree_s(int(child)) for child in children)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--workers", default="1,2")
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--connections", type=int, default=32)
    options.add_argument("--cpu-ms", type=float, default=5)
    options.add_argument("--trackers", action="store_true", help="a tracker of its own for each")
    options.add_argument("--drain", action="store_true", help="deliver all afterwards")
    options.add_argument("--ray", action="store_true", help="Ray Serve beside one and two")
    asked = options.parse_args()
    if asked.ray:
        asked.cpu_ms = 0
        counts = [Way(workers=1), Way(workers=2), Way(workers=2, ray=True)]
    else:
        counts = [Way(workers=int(count)) for count in asked.workers.split(",")]
    results: dict[Way, list[Measured]] = {count: [] for count in counts}
    with tempfile.TemporaryDirectory(prefix="ddx-bench-") as folder:
        sync_ms = fdatasync_ms(Path(folder))
        for number in range(asked.rounds):
            for count in counts:
                home = Path(folder) / f"{number}-{count}".replace(" ", "-")
                home.mkdir()
                results[count].append(measure(home, count, asked))
    print(f"one fdatasync of 10 kB: {sync_ms:.2f} ms; {asked.rounds} rounds, medians below")
    print(
        f"{'workers':>7} {'per s':>8} {'p50 ms':>8} {'p99 ms':>8} {'kept':>7}"
        f" {'wrk cores':>9} {'cpu ms':>7}"
    )
    for count, found in results.items():
        median = {
            name: statistics.median(getattr(one.load, name) for one in found)
            for name in ("per_second", "p50_ms", "p99_ms")
        }
        refused = sum(one.load.refused for one in found)
        print(
            f"{count!s:>7} {median['per_second']:>8.1f} {median['p50_ms']:>8.1f}"
            f" {median['p99_ms']:>8.1f} {found[-1].kept:>7}"
            f" {statistics.median(one.wrk_cores for one in found):>9.2f}"
            f" {statistics.median(one.cpu_ms for one in found):>7.2f}"
            + (f"  refused {refused}" if refused else "")
            + (f"  delivered: {found[-1].drain}" if found[-1].drain else "")
        )
    first, last = results[counts[0]], results[counts[-1]]
    ratio = statistics.median(one.load.per_second for one in last) / statistics.median(
        one.load.per_second for one in first
    )
    print(f"{counts[-1]} workers answer {ratio:.2f} times what {counts[0]} do")


if __name__ == "__main__":
    main()
