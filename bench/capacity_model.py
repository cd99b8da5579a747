"""From what one prediction costs to how many a second: arithmetic, without a clock or a process.

docs/capacity.md has the formulae in words.
"""

from __future__ import annotations

from dataclasses import dataclass

EVENTS = 2
"""Events of a prediction in the journal, each of which is waited for: accepted, finished."""
MOST_EVENTS = 512
"""Of one commit: BATCH of adapters/sqlite_journal/writer.py."""
SWITCH_MS = 5.0
"""After which Python gives another thread a turn: sys.getswitchinterval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What one prediction costs. Processor times are those of one core that is alone."""

    http_ms: float
    """A request that asks for nothing: the HTTP server's share."""
    record_ms: float
    """Reading the case, the record, the answer and its reply, without a durable journal."""
    fixed_ms: float
    """All of the server, but what a commit costs; without the engine's part."""
    commit_ms: float
    """One commit, whatever the number of its events."""
    team_ms: float
    """What a prediction costs more where there are several workers: counters that they share."""
    kernel_ms: float
    """The part of `fixed_ms` that is the kernel's in the journal's thread: it needs no turn of the
    interpreter."""
    generator_ms: float
    """The load's own."""
    latency_ms: float
    """From request to reply with one connection."""
    commit_every_ms: float
    """From one commit to the next of a journal under full load."""
    sync_ms: float
    """One fdatasync of 10 kB, one file at a time."""
    journal_bytes: float
    """What the journal's file grows by."""
    written_bytes: float
    """What the server writes to the disk under full load: log, journal and keys."""
    request_bytes: float
    reply_bytes: float
    deliver_ms: float
    """The deliverer's, with files in a folder."""
    deliver_s3_ms: float
    """The deliverer's, with files in an object store."""
    database_ms: float
    """PostgreSQL's."""
    rows: float
    database_bytes: float
    """What PostgreSQL's files grow by, indices too."""
    wal_bytes: float
    """What PostgreSQL's log grows by."""
    files: float
    file_bytes: float
    disk_bytes: float
    """What the files take in a folder, in whole blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What runs where. `sync_ms` is that of as many files at once as there are workers."""

    workers: int
    connections: int
    worker_cores: float
    """Cores' work that as many busy processes as workers get done."""
    all_cores: float
    """The same with the load's process."""
    sync_ms: float
    engine_ms: float = 0.0
    engine_wait_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What the model says of a place."""

    per_second: float
    bound_by: str
    cpu_ms: float
    """Of the server for one prediction."""
    commits: float
    """Syncs for one prediction."""
    bounds: dict[str, float]


def events_of_commit(events_per_s: float, every_ms: float, most: float) -> float:
    """Return how many events a commit takes: what came while the last one was under way.

    >>> events_of_commit(100, 4, 32)
    1.0
    >>> events_of_commit(2000, 4, 32)
    8.0
    >>> events_of_commit(20_000, 4, 32)
    32
    """
    return min(most, max(1.0, events_per_s * every_ms / 1000))


def turn_ms(engine_ms: float) -> float:
    """Return how long a commit waits for an engine to let go of the interpreter.

    >>> turn_ms(2), turn_ms(100)
    (2, 5.0)
    """
    return min(engine_ms, SWITCH_MS)


def server_ms(costs: Costs, commits: float, engine_ms: float, *, team: bool) -> float:
    """Return the server's processor time for a prediction with so many commits of its own."""
    shared = costs.team_ms if team else 0.0
    return costs.fixed_ms + shared + commits * costs.commit_ms + engine_ms


def forecast(costs: Costs, place: Place) -> Forecast:
    """Return how many predictions a second a closed load gets, and what bounds them.

    The commits' share depends on the rate and the rate on the commits' share: gone round until both
    agree.
    """
    every_ms = max(costs.commit_every_ms, place.sync_ms) + turn_ms(place.engine_ms)
    # Each connection waits for one event at a time.
    most = max(1.0, min(MOST_EVENTS, place.connections / place.workers))
    rate, found = 1.0, None
    for _ in range(200):
        events = events_of_commit(EVENTS * rate / place.workers, every_ms, most)
        found = _bounds(costs, place, EVENTS / events, most)
        if abs(found.per_second - rate) < 1e-6 * rate:
            break
        rate = (rate + found.per_second) / 2
    assert found is not None
    return found


def _bounds(costs: Costs, place: Place, commits: float, most: float) -> Forecast:
    cpu_ms = server_ms(costs, commits, place.engine_ms, team=place.workers > 1)
    latency_ms = (
        costs.latency_ms
        + EVENTS * max(0.0, place.sync_ms - costs.sync_ms)
        + place.engine_ms
        + place.engine_wait_ms
    )
    bounds = {
        # One process runs Python on one core at a time.
        "workers": place.worker_cores / (cpu_ms - costs.kernel_ms) * 1000,
        "cores": place.all_cores / (cpu_ms + costs.generator_ms) * 1000,
        "commits": place.workers * most / EVENTS / (place.sync_ms + costs.commit_ms) * 1000,
        "connections": place.connections / latency_ms * 1000,
    }
    bound_by = min(bounds, key=lambda name: bounds[name])
    return Forecast(
        per_second=bounds[bound_by],
        bound_by=bound_by,
        cpu_ms=cpu_ms,
        commits=commits,
        bounds=bounds,
    )


def split(low: tuple[float, float], full: tuple[float, float]) -> tuple[float, float]:
    """Return (fixed, a commit's) processor time, from two loads' (time, commits) of a prediction.

    >>> split((1.5, 2.0), (1.0, 0.4))
    (0.875, 0.3125)

    Two loads that a noisy moment turned round say that a commit costs nothing.

    >>> split((0.9, 2.0), (1.0, 0.4))
    (1.0, 0.0)
    """
    commit = max(0.0, (low[0] - full[0]) / (low[1] - full[1])) if low[1] > full[1] else 0.0
    return full[0] - commit * full[1], commit
