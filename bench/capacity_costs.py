"""What one prediction costs a server, its journal, the disk and the load, measured."""

from __future__ import annotations

import json
import resource
import statistics
import struct
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import worked
from bench.capacity_model import EVENTS, split
from bench.load import CASE, Load, fdatasync_ms, free_port, process, wrk
from bench.processes import Taken, taken
from ddx.adapters.sqlite_journal import SqliteJournalReader, find_journals

DDX = [sys.executable, "-m", "ddx"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A server under a counted load."""

    load: Load
    count: int
    """Requests that were answered."""
    taken: Taken
    generator_s: float
    """Processor time of the load."""
    commits: int


@contextmanager
def server(home: Path, workers: int, engine_ms: float, journal: str = "sqlite") -> Iterator[Served]:
    """Start a server without a deliverer, whose engine burns `engine_ms` of processor time."""
    home.mkdir()
    port = free_port()
    environment = worked.settings(home, port, workers, engine_ms) | {"DDX_JOURNAL": journal}
    address = f"http://127.0.0.1:{port}"
    serve = [*DDX, "serve", "--no-deliverer"]
    with process(serve, f"{address}/readyz", environment, home / "serve.log") as parent:
        yield Served(home / "ddx_data", address, parent.pid)


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs."""

    data: Path
    address: str
    pid: int

    def under(self, connections: int, seconds: float) -> Sample:
        """Load it with predictions."""
        url = f"{self.address}/predict/v1"
        wrk(url, connections, min(2.0, seconds))
        self._settle()
        return self._counted(url, connections, seconds, "POST")

    def idle_s(self, seconds: float) -> float:
        """Return the processor time that it takes in a second without any request."""
        before = taken(self.pid)
        time.sleep(seconds)
        return (taken(self.pid) - before).cpu_s / seconds

    def bare(self, connections: int, seconds: float) -> Sample:
        """Load it with requests that ask for nothing."""
        return self._counted(f"{self.address}/healthz", connections, seconds, "GET")

    def reply(self) -> bytes:
        """Return the body of a prediction's reply."""
        asked = urllib.request.Request(
            f"{self.address}/predict/v1",
            data=json.dumps({"case": CASE}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked) as answer:
            return bytes(answer.read())

    def _counted(self, url: str, connections: int, seconds: float, method: str) -> Sample:
        events, commits = self.events(), self._commits()
        spent_s, before = _children_s(), taken(self.pid)
        load = wrk(url, connections, seconds, method=method)
        self._settle()
        after = taken(self.pid)
        kept = (self.events() - events) // EVENTS
        return Sample(
            load=load,
            count=kept or round(load.per_second * seconds),
            taken=after - before,
            generator_s=_children_s() - spent_s,
            commits=self._commits() - commits,
        )

    def _settle(self) -> None:
        """Wait until what the load left behind is answered, too."""
        before = -1
        while (now := self.events()) != before:
            before = now
            time.sleep(0.3)

    def events(self) -> int:
        """Return how many are in all journals."""
        found = 0
        for instance in find_journals(self.data):
            with closing(SqliteJournalReader(self.data, instance)) as reader:
                found += reader.last_seq()
        return found

    def _commits(self) -> int:
        return sum(commits(path) for path in self.data.glob("journals/*.db-shm"))


def commits(index: Path) -> int:
    """Return how many transactions a WAL has seen: a counter in the header of its index.

    It is iChange of https://sqlite.org/walformat.html.
    """
    with index.open("rb") as file:
        return int(struct.unpack_from("=I", file.read(12), 8)[0])


def _children_s() -> float:
    """Processor time of children that have ended: between two calls around wrk, of wrk."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def syncs_ms(folder: Path, writers: int, times: int = 100) -> float:
    """Return the median time of one fdatasync of 10 kB while so many files are synced at once."""
    found: list[float] = []

    def work(number: int) -> None:
        own = folder / f"writer-{number}"
        own.mkdir(exist_ok=True)
        found.append(fdatasync_ms(own, times))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statistics.median(found)


def server_costs(home: Path, connections: int, seconds: float, sync_ms: float) -> dict[str, float]:
    """Measure one process at low and at full load, with its journal on disk and in memory."""
    with server(home / "memory", 1, 0, "memory") as served:
        bare = served.bare(connections, seconds)
        memory = served.under(connections, seconds)
    with server(home / "sqlite", 1, 0) as served:
        reply = served.reply()
        alone_s = served.idle_s(seconds)
        low = served.under(1, seconds)
        full = served.under(connections, seconds)
    # Closed, so that its log is in it.
    predictions = served.events() / EVENTS
    journal_bytes = (served.data / "journals" / "main.db").stat().st_size / predictions
    with server(home / "team", 2, 0) as served:
        idle_s = served.idle_s(seconds)
        # One connection: one of the two answers all of it.
        team = served.under(1, seconds)
    fixed_ms, commit_ms = split(_of_one(low), _of_one(full))
    http_ms = 1000 * bare.taken.cpu_s / bare.count
    return {
        "http_ms": http_ms,
        "record_ms": 1000 * memory.taken.cpu_s / memory.count - http_ms,
        "fixed_ms": fixed_ms,
        "commit_ms": commit_ms,
        "team_ms": max(0.0, _busy_ms(team, idle_s, seconds) - _busy_ms(low, alone_s, seconds)),
        "kernel_ms": 1000 * full.taken.kernel_s / full.count,
        "generator_ms": 1000 * full.generator_s / full.count,
        "latency_ms": low.load.p50_ms,
        "commit_every_ms": 1000 * seconds / full.commits,
        "sync_ms": sync_ms,
        "journal_bytes": journal_bytes,
        "written_bytes": full.taken.written / full.count,
        "request_bytes": len(json.dumps({"case": CASE})),
        "reply_bytes": len(reply),
    }


def _busy_ms(sample: Sample, idle_s: float, seconds: float) -> float:
    """Return the processor time of one prediction without what an idle server takes, too."""
    return 1000 * (sample.taken.cpu_s - idle_s * seconds) / sample.count


def _of_one(sample: Sample) -> tuple[float, float]:
    """Return (processor time in ms, commits) of one prediction."""
    return 1000 * sample.taken.cpu_s / sample.count, sample.commits / sample.count
