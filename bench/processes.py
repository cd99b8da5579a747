"""What processes took, from the kernel's own accounts in /proc."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a process and all below it have taken so far."""

    cpu_s: float
    main_s: float
    """Of it, that of their main threads: in a server, the one that answers."""
    kernel_s: float
    """Of it, that of the kernel for their other threads: of a journal's writes and syncs."""
    written: int
    """Bytes that went, or will go, to a disk."""

    def __add__(self, other: Taken) -> Taken:
        return Taken(
            cpu_s=self.cpu_s + other.cpu_s,
            main_s=self.main_s + other.main_s,
            kernel_s=self.kernel_s + other.kernel_s,
            written=self.written + other.written,
        )

    def __sub__(self, other: Taken) -> Taken:
        return Taken(
            cpu_s=self.cpu_s - other.cpu_s,
            main_s=self.main_s - other.main_s,
            kernel_s=self.kernel_s - other.kernel_s,
            written=self.written - other.written,
        )


def taken(pid: int) -> Taken:
    """Return what a process has taken, its children that ended, and those that run."""
    process = Path(f"/proc/{pid}")
    fields = _stat(process / "stat")
    main = _stat(process / "task" / str(pid) / "stat")
    written = (process / "io").read_text().partition("write_bytes: ")[2].split()[0]
    found = Taken(
        cpu_s=sum(fields[11:15]) / _TICKS,
        main_s=(main[11] + main[12]) / _TICKS,
        kernel_s=(fields[12] - main[12]) / _TICKS,
        written=int(written),
    )
    for task in (process / "task").iterdir():
        for child in (task / "children").read_text().split():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                found += taken(int(child))
    return found


def _stat(path: Path) -> list[int]:
    """Return the fields after a process's name; its state, a letter, as 0."""
    fields = path.read_text().rpartition(")")[2].split()
    return [0, *map(int, fields[1:])]


@contextmanager
def on_one_core() -> Iterator[None]:
    """Keep this process, and those that it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def usable_turns(processes: int, seconds: float) -> float:
    """Return what this many busy processes get done in a second at this moment, in turns.

    Two that share the parts of a core do less each, and other work takes some away: both are in the
    figure.
    """
    ends, workers = [], []
    for _ in range(processes):
        here, there = multiprocessing.Pipe(duplex=False)
        workers.append(multiprocessing.Process(target=_busy, args=(seconds, there), daemon=True))
        ends.append(here)
    for worker in workers:
        worker.start()
    done = [int(one.recv()) for one in ends]
    for worker in workers:
        worker.join()
    return sum(done) / seconds


def _busy(seconds: float, told: Connection) -> None:
    # As a server's: the kernel may deal processor time out by session.
    os.setsid()
    turns, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(5000))
        turns += 1
    told.send(turns)
