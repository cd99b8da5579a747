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
    crowd_ms: float
    """What a prediction costs more where two workers share a core."""
    stand_ms: float
    """What each commit leaves idle of the worker's core: the worker waits for the sync."""
    apart_ms: float
    """What a prediction costs more with a core to spare: the journal's thread is on that one."""
    apart_stand_ms: float
    """`stand_ms` there."""
    kernel_ms: float
    """The kernel's share of a prediction in the journal's thread: it needs no turn of the
    interpreter, so it goes on beside where there is a core to spare."""
    generator_ms: float
    """The load's own."""
    latency_ms: float
    """From request to reply with one connection."""
    commit_every_ms: float
    """From one commit to the next under full load, on a core that server and load share."""
    gathered: float
    """Share of a worker's connections whose events one commit takes, with a core to spare."""
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
    cores: int
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


def turns(workers: int, cores: int, work_ms: float, stand_ms: float) -> tuple[float, float]:
    """Return (cores in use, how often one is to spare), where each worker works and stands in turn.

    A closed network of as many customers as workers, with a server for each core (the machine
    repairman's, for which mean times are enough).

    >>> turns(1, 2, 3, 1)
    (0.75, 1.0)
    >>> [round(found, 4) for found in turns(2, 2, 3, 1)]  # both work in 9 of 16 moments
    [1.5, 0.4375]
    >>> [round(found, 4) for found in turns(4, 2, 3, 1)]  # another works while one stands
    [1.9703, 0.0275]
    >>> turns(1000, 2, 3, 1)
    (2.0, 0.0)
    >>> turns(1, 2, 3, 0), turns(4, 2, 3, 0)
    ((1.0, 1.0), (2.0, 0.0))
    """
    if not stand_ms:
        return float(min(workers, cores)), float(workers < cores)
    weights = [1.0]
    for working in range(1, workers + 1):
        coming, done = (workers - working + 1) / stand_ms, min(working, cores) / work_ms
        weights.append(weights[-1] * coming / done)
        weights = [weight / weights[-1] for weight in weights]  # of hundreds of workers, too
    used = sum(min(working, cores) * weight for working, weight in enumerate(weights))
    return used / sum(weights), sum(weights[:cores]) / sum(weights)


def server_ms(costs: Costs, commits: float, engine_ms: float) -> float:
    """Return the processor time of a prediction with so many commits of its own, for a worker that
    has a core with nothing to spare.
    """
    return costs.fixed_ms + commits * costs.commit_ms + engine_ms


def stand_ms(costs: Costs, sync_ms: float) -> float:
    """Return what a commit leaves idle of that core where a sync takes `sync_ms`."""
    return max(0.0, costs.stand_ms + sync_ms - costs.sync_ms)


def every_ms(costs: Costs, sync_ms: float, engine_ms: float) -> float:
    """Return the time from one commit to the next, of a worker that has a core to itself."""
    return max(costs.commit_every_ms, sync_ms) + turn_ms(engine_ms)


def forecast(costs: Costs, place: Place) -> Forecast:
    """Return how many predictions a second a closed load gets, and what bounds them.

    Rate, commits, and how often a core is to spare, depend on each other: gone round until they
    agree.
    """
    # From above: with a slow disk, each lower rate agrees with the lone commits that it makes.
    rate = 1000 * place.cores / server_ms(costs, 0, place.engine_ms)
    spare, found = 0.0, None
    for _ in range(500):
        commits = EVENTS / _events(costs, place, rate, spare)
        found, now_spare = _bounds(costs, place, commits, spare)
        if abs(found.per_second - rate) < 1e-6 * rate and abs(now_spare - spare) < 1e-6:
            break
        rate, spare = (rate + found.per_second) / 2, (spare + now_spare) / 2
    assert found is not None
    return found


def _events(costs: Costs, place: Place, rate: float, spare: float) -> float:
    """Return how many events a commit takes."""
    # Each connection waits for one event at a time.
    most = max(1.0, min(MOST_EVENTS, place.connections / place.workers))
    own = EVENTS * rate / place.workers
    # Workers that share a core wait for their turn of it, too.
    turn = every_ms(costs, place.sync_ms, place.engine_ms) * max(1.0, place.workers / place.cores)
    # While a slow disk syncs, a core to spare brings all that it can.
    brought = EVENTS * place.sync_ms / server_ms(costs, 0, place.engine_ms)
    apart = max(1.0, costs.gathered * most, min(most, brought))
    return spare * apart + (1 - spare) * events_of_commit(own, turn, most)


def _bounds(costs: Costs, place: Place, commits: float, spare: float) -> tuple[Forecast, float]:
    """Return what follows from the commits of a prediction, and from how often a core is to spare;
    and how often one is then.
    """
    crowd = max(0.0, place.workers / place.cores - 1)
    cpu_ms = (
        server_ms(costs, commits, place.engine_ms) + crowd * costs.crowd_ms + spare * costs.apart_ms
    )
    # The load, and what is not Python, go to the core that is to spare.
    own_ms = cpu_ms - spare * costs.kernel_ms + (1 - spare) * costs.generator_ms
    more_ms = spare * (costs.apart_stand_ms - costs.stand_ms)
    idle_ms = commits * (stand_ms(costs, place.sync_ms) + more_ms)
    used, now_spare = turns(place.workers, place.cores, own_ms, idle_ms)
    latency_ms = (
        costs.latency_ms
        + EVENTS * max(0.0, place.sync_ms - costs.sync_ms)
        + place.engine_ms
        + place.engine_wait_ms
    )
    # What busy processes get done of as many cores' work.
    gets = place.worker_cores / min(place.workers, place.cores)
    bounds = {
        "workers": used * gets / own_ms * 1000,
        "cores": place.all_cores / (cpu_ms + costs.generator_ms) * 1000,
        "connections": place.connections / latency_ms * 1000,
    }
    bound_by = min(bounds, key=lambda name: bounds[name])
    found = Forecast(
        per_second=bounds[bound_by],
        bound_by=bound_by,
        cpu_ms=cpu_ms,
        commits=commits,
        bounds=bounds,
    )
    return found, now_spare


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
