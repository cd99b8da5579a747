"""Servers and what the machine gives, measured in turns, so that all are of one machine.

What a core does in a second drifts within minutes (docs/capacity.md has figures). So all servers
run from the beginning, and each round loads all of them once, for a moment.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.capacity_costs import (
    Served,
    journal_bytes,
    loads,
    lone_servers,
    server,
    server_costs,
    syncs_ms,
)
from bench.processes import usable_turns

Name = TypeVar("Name")
PROBE_S = 1.0
Kind = tuple[float, int]
"""What is measured: the engine's milliseconds, workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One load of a server."""

    per_second: float
    cpu_ms: float
    commits: float
    """For one prediction."""
    count: int
    cores: float
    """That the server and the load got, by the kernel's account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What all rounds found."""

    costs: dict[str, float]
    """Names of `Costs`: the server's."""
    cores: dict[int, float]
    """Cores' work that as many busy processes get done."""
    sync_ms: dict[int, float]
    """A sync's time, by how many files are synced at once."""
    rounds: dict[Kind, list[Round]]


def measured(
    home: Path, kinds: Sequence[Kind], connections: int, seconds: float, rounds: int
) -> Measured:
    """Load one process for its costs, and each kind of server, in turns."""
    teams = sorted({workers for _, workers in kinds})
    busy = sorted({1, *teams, *(workers + 1 for workers in teams)})
    turns: list[dict[int, float]] = []
    syncs: list[dict[int, float]] = []
    lone_loads: list[dict[str, float]] = []
    found: dict[Kind, list[Round]] = {kind: [] for kind in kinds}
    with ExitStack() as stack:
        lone = stack.enter_context(lone_servers(home))
        servers = {
            (ms, workers): stack.enter_context(server(home / f"{ms:g}-{workers}", workers, ms))
            for ms, workers in kinds
        }
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            turns.append({processes: usable_turns(processes, PROBE_S) for processes in busy})
            syncs.append({workers: syncs_ms(home, workers) for workers in teams})
            lone_loads.append(loads(lone, connections, seconds))
            for kind, before in found.items():
                before.append(_round(servers[kind], connections, seconds))
    costs = server_costs(medians(lone_loads), connections)
    done = medians(turns)
    return Measured(
        costs=costs | {"journal_bytes": journal_bytes(lone.one.data)},
        cores={processes: done[processes] / done[1] for processes in busy},
        sync_ms=medians(syncs),
        rounds=found,
    )


def _round(served: Served, connections: int, seconds: float) -> Round:
    found = served.under(connections, seconds)
    if found.load.refused:
        sys.exit(f"error: {found.load.refused} requests were refused")
    return Round(
        per_second=found.load.per_second,
        cpu_ms=1000 * found.taken.cpu_s / found.count,
        commits=found.commits / found.count,
        count=found.count,
        cores=(found.taken.cpu_s + found.generator_s) / seconds,
    )


def medians(found: Sequence[Mapping[Name, float]]) -> dict[Name, float]:
    """Return the median of each name.

    >>> medians([{"ms": 1.0}, {"ms": 9.0}, {"ms": 2.0}])
    {'ms': 2.0}
    """
    return {name: statistics.median(one[name] for one in found) for name in found[0]}
