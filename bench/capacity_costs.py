"""What one prediction costs a server, its journal, the disk and the load, measured."""

from __future__ import annotations

import json
import os
import resource
import signal
import statistics
import struct
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import worked
from bench.capacity_model import EVENTS, Costs, split
from bench.load import CASE, Load, fdatasync_ms, free_port, process, wrk
from bench.processes import Taken, on_one_core, taken
from ddx.adapters.sqlite_journal import SqliteJournalReader, find_journals

WARM_S = 1.0
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
    """Start a server without a deliverer, whose engine burns `engine_ms` of processor time.

    It stands still, all of its processes, but for what is asked of it here: several are there at a
    time, and those that are not measured must take nothing.
    """
    home.mkdir()
    port = free_port()
    environment = worked.settings(home, port, workers, engine_ms) | {"DDX_JOURNAL": journal}
    address = f"http://127.0.0.1:{port}"
    serve = [*DDX, "serve", "--no-deliverer"]
    with process(serve, f"{address}/readyz", environment, home / "serve.log") as parent:
        os.killpg(parent.pid, signal.SIGSTOP)
        try:
            yield Served(home / "ddx_data", address, parent.pid)
        finally:
            os.killpg(parent.pid, signal.SIGCONT)


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs."""

    data: Path
    address: str
    pid: int

    def under(self, connections: int, seconds: float) -> Sample:
        """Load it with predictions."""
        url = f"{self.address}/predict/v1"
        with self._awake():
            wrk(url, connections, WARM_S)
            self._settle()
            return self._counted(url, connections, seconds, "POST")

    def bare(self, connections: int, seconds: float) -> Sample:
        """Load it with requests that ask for nothing."""
        with self._awake():
            return self._counted(f"{self.address}/healthz", connections, seconds, "GET")

    def reply(self) -> bytes:
        """Return the body of a prediction's reply."""
        asked = urllib.request.Request(
            f"{self.address}/predict/v1",
            data=json.dumps({"case": CASE}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with self._awake(), urllib.request.urlopen(asked) as answer:
            return bytes(answer.read())

    @contextmanager
    def _awake(self) -> Iterator[None]:
        os.killpg(self.pid, signal.SIGCONT)
        try:
            yield
        finally:
            os.killpg(self.pid, signal.SIGSTOP)

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


@dataclass(frozen=True, slots=True)
class Lone:
    """Servers whose loads say what a prediction costs; all but `spare` share a core with the load,
    as each worker does where all cores are in use.
    """

    memory: Served
    """Its journal is in memory."""
    one: Served
    pair: Served
    """Two workers."""
    spare: Served
    """One process, with all cores."""


@contextmanager
def lone_servers(home: Path) -> Iterator[Lone]:
    """Start them."""
    with ExitStack() as stack:
        with on_one_core():
            memory = stack.enter_context(server(home / "memory", 1, 0, "memory"))
            one = stack.enter_context(server(home / "one", 1, 0))
            pair = stack.enter_context(server(home / "pair", 2, 0))
        yield Lone(memory, one, pair, stack.enter_context(server(home / "spare", 1, 0)))


def loads(lone: Lone, connections: int, seconds: float) -> dict[str, float]:
    """Load each at low and at full load: so many connections, of which a core has its share.

    Returns milliseconds of processor time and commits for one prediction, and what needs no more
    reckoning: names of `Costs`.
    """
    shared = max(1, connections // (os.cpu_count() or 1))
    with on_one_core():
        bare = lone.memory.bare(shared, seconds)
        memory = lone.memory.under(shared, seconds)
        low = lone.one.under(1, seconds)
        full = lone.one.under(shared, seconds)
        pair = lone.pair.under(shared, seconds)
        reply = lone.one.reply()
    spare = lone.spare.under(connections, seconds)
    found = {"bare": bare, "memory": memory, "low": low, "full": full, "pair": pair, "spare": spare}
    return {
        **{f"{name}_cpu": 1000 * one.taken.cpu_s / one.count for name, one in found.items()},
        **{f"{name}_commits": one.commits / one.count for name, one in found.items()},
        "full_took": 1000 * seconds / full.count,
        "spare_took": 1000 * seconds / spare.count,
        "kernel_ms": 1000 * spare.taken.kernel_s / spare.count,
        "generator_ms": 1000 * full.generator_s / full.count,
        "latency_ms": low.load.p50_ms,
        "sync_ms": syncs_ms(lone.one.data, 1),
        "written_bytes": full.taken.written / full.count,
        "request_bytes": len(json.dumps({"case": CASE})),
        "reply_bytes": len(reply),
    }


def server_costs(loads: Mapping[str, float], connections: int) -> dict[str, float]:
    """Return names of `Costs`, by what `loads` found; differences of medians, not medians of
    differences, for those are mostly noise.
    """
    fixed_ms, commit_ms = split(
        (loads["low_cpu"], loads["low_commits"]), (loads["full_cpu"], loads["full_commits"])
    )

    def more_ms(name: str) -> float:
        known_ms = fixed_ms + loads[f"{name}_commits"] * commit_ms
        return max(0.0, loads[f"{name}_cpu"] - known_ms)

    def stand_ms(name: str, busy_ms: float) -> float:
        return max(0.0, loads[f"{name}_took"] - busy_ms) / loads[f"{name}_commits"]

    return {
        **{name: value for name, value in loads.items() if name in Costs.__slots__},
        "http_ms": loads["bare_cpu"],
        "record_ms": loads["memory_cpu"] - loads["bare_cpu"],
        "fixed_ms": fixed_ms,
        "commit_ms": commit_ms,
        "crowd_ms": more_ms("pair"),
        "stand_ms": stand_ms("full", loads["full_cpu"] + loads["generator_ms"]),
        "apart_ms": more_ms("spare"),
        "apart_stand_ms": stand_ms("spare", loads["spare_cpu"] - loads["kernel_ms"]),
        "commit_every_ms": loads["full_took"] / loads["full_commits"],
        "gathered": EVENTS / loads["spare_commits"] / connections,
    }


def journal_bytes(data: Path) -> float:
    """Return what a prediction takes in a journal that is closed, so that its log is in it."""
    with closing(SqliteJournalReader(data, "main")) as reader:
        events = reader.last_seq()
    return (data / "journals" / "main.db").stat().st_size / (events / EVENTS)
