"""What processes took, from the kernel's own accounts in /proc."""

from __future__ import annotations

import multiprocessing
import os
import time
from contextlib import suppress
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


def usable_cores(processes: int, seconds: float, reference: float) -> float:
    """Return how many cores' work this many busy processes get done at this moment.

    One is what a core does alone in a second of processor time: `reference`. Two that share the
    parts of a core do less each, and other work takes some away: both are in the figure.
    """
    ends, workers = [], []
    for _ in range(processes):
        here, there = multiprocessing.Pipe(duplex=False)
        workers.append(multiprocessing.Process(target=_busy, args=(seconds, there), daemon=True))
        ends.append(here)
    for worker in workers:
        worker.start()
    done = [one.recv() for one in ends]
    for worker in workers:
        worker.join()
    return float(sum(turns for turns, _ in done) / seconds / reference)


def turns_a_second(seconds: float) -> float:
    """Return what a core does in a second of processor time."""
    here, there = multiprocessing.Pipe(duplex=False)
    _busy(seconds, there)
    turns, spent_s = here.recv()
    return float(turns / spent_s)


def _busy(seconds: float, told: Connection) -> None:
    # As a server's: the kernel may deal processor time out by session.
    if os.getpid() != os.getsid(0) and multiprocessing.parent_process() is not None:
        os.setsid()
    turns, spent_s, until = 0, time.process_time(), time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(5000))
        turns += 1
    told.send((turns, time.process_time() - spent_s))
