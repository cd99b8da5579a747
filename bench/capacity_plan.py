"""What a rate needs, what breaks first, and what it costs: arithmetic on costs and assumptions.

Parts are counted for the peak; bytes that stay, and money, for the mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from bench.capacity_model import (
    EVENTS,
    MOST_EVENTS,
    Costs,
    events_of_commit,
    every_ms,
    server_ms,
    stand_ms,
)

DAY_S = 86_400
MONTH_S = 730 * 3600
GB = 1e9
MAX_RUNNING = 256
MAX_BACKLOG_MB = 2048
"""The settings of these names, as they come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """What is not measured here. bench/capacity.toml says why it is so."""

    engine_ms: float
    engine_wait_s: float
    target: float
    mean: float
    node_cores: float
    node_disk_gb: float
    journal_days: float
    journal_sync_ms: float
    database_cores: float
    database_wal_mb_s: float
    database_runs: float
    database_hours: float
    prefix_puts_per_s: float
    artifact_days: float
    tracker_share: float
    claims_per_s: float
    usd_core_hour: float
    usd_database_core_hour: float
    usd_disk_gb_month: float
    usd_iops_month: float
    usd_object_gb_month: float
    usd_put_1000: float
    usd_folder_gb_month: float
    usd_model: float


@dataclass(frozen=True, slots=True)
class Need:
    """One line of the plan."""

    part: str
    what: str
    amount: float


@dataclass(frozen=True, slots=True)
class Limit:
    """What one of a part bears, in predictions a second, and what to change beyond it."""

    part: str
    per_second: float
    change: str


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker at the share of its time that is aimed at, on a core of its own."""

    per_second: float
    commits: float
    """For one prediction."""
    cpu_ms: float


def worker(costs: Costs, assumed: Assumed, target: float) -> Worker:
    """Return what one worker answers in `target` of its time, with the assumed disk."""
    turn = every_ms(costs, assumed.journal_sync_ms, assumed.engine_ms)
    rate, found = 1.0, None
    for _ in range(100):
        commits = EVENTS / events_of_commit(EVENTS * rate, turn, MOST_EVENTS)
        cpu_ms = server_ms(costs, commits, assumed.engine_ms)
        idle_ms = commits * stand_ms(costs, assumed.journal_sync_ms)
        found = Worker(1000 * target / (cpu_ms + idle_ms), commits, cpu_ms)
        rate = (rate + found.per_second) / 2
    assert found is not None
    return found


def deliver_ms(costs: Costs, *, objects: bool) -> float:
    """Return the deliverer's time for a run, by where its files go."""
    return costs.deliver_s3_ms if objects else costs.deliver_ms


def needs(costs: Costs, assumed: Assumed, rate: float, *, objects: bool) -> list[Need]:
    """Return what a peak of `rate` predictions a second needs."""
    one = worker(costs, assumed, assumed.target)
    workers = ceil(rate / one.per_second)
    server_cores = rate * one.cpu_ms / 1000 / assumed.target
    deliverer_cores = rate * deliver_ms(costs, objects=objects) / 1000 / assumed.target
    deliverers = ceil(deliverer_cores)
    nodes = ceil((server_cores + deliverer_cores) / assumed.node_cores)
    database_cores = rate * costs.database_ms / 1000 / assumed.target
    kept_runs = rate * assumed.mean * assumed.database_hours * 3600
    day = rate * assumed.mean * DAY_S
    running = rate * (costs.latency_ms / 1000 + assumed.engine_wait_s)
    puts = rate * costs.files
    return [
        Need("server", "cores", server_cores),
        Need("server", "workers", workers),
        Need("server", "predictions under way", running),
        Need("server", "of them at one worker (max_running)", running / workers),
        Need("deliverer", "cores", deliverer_cores),
        Need("deliverer", "processes", deliverers),
        Need("nodes", f"of {assumed.node_cores:g} cores, a data folder each", nodes),
        Need("nodes", "predictions a second at one", rate / nodes),
        Need(
            "nodes", "s without MLflow until 503 (max_backlog_mb)", _patience_s(costs, rate / nodes)
        ),
        # A worker writes one, and one deliverer at a time reads it.
        Need("journals", "at least", max(workers, deliverers)),
        Need("journals", "syncs a second, all", rate * one.commits),
        Need("journals", "syncs a second, a node", rate * one.commits / nodes),
        Need("journals", "MB/s written, all", rate * costs.written_bytes / 1e6),
        Need("journals", "GB a day", day * costs.journal_bytes / GB),
        Need("journals", "GB a day, a node", day * costs.journal_bytes / GB / nodes),
        Need("PostgreSQL", "cores", database_cores),
        Need("PostgreSQL", "rows a second", rate * costs.rows),
        Need("PostgreSQL", "MB/s of log", rate * costs.wal_bytes / 1e6),
        Need("PostgreSQL", "GB a day, rows and indices", day * costs.database_bytes / GB),
        Need("PostgreSQL", "instances for writing", _instances(costs, assumed, rate)),
        Need("PostgreSQL", "databases for MLflow's pages", ceil(kept_runs / assumed.database_runs)),
        Need("claims", "taken or settled a second", 2 * rate * assumed.tracker_share),
        Need("claims", "databases", ceil(2 * rate * assumed.tracker_share / assumed.claims_per_s)),
        Need("files", "written a second", puts),
        Need("files", "MB/s", rate * costs.file_bytes / 1e6),
        Need("files", "GB a day", day * _file_bytes(costs, objects=objects) / GB),
        Need("files", "million a day", day * costs.files / 1e6),
        *(
            [Need("files", "prefixes of the store", ceil(puts / assumed.prefix_puts_per_s))]
            if objects
            else []
        ),
        Need("network", "MB/s from callers", rate * costs.request_bytes / 1e6),
        Need("network", "MB/s to callers", rate * costs.reply_bytes / 1e6),
        Need(
            "network",
            "MB/s to database and files",
            rate * (costs.database_bytes + costs.file_bytes) / 1e6,
        ),
    ]


def _instances(costs: Costs, assumed: Assumed, rate: float) -> int:
    """PostgreSQL has one primary that writes: its cores and its log's stream bound it."""
    by_cores = rate * costs.database_ms / 1000 / assumed.target / assumed.database_cores
    by_log = rate * costs.wal_bytes / 1e6 / assumed.database_wal_mb_s
    return ceil(max(by_cores, by_log))


def _patience_s(costs: Costs, rate: float) -> float:
    return MAX_BACKLOG_MB * 2**20 / costs.journal_bytes / rate


def _file_bytes(costs: Costs, *, objects: bool) -> float:
    return costs.file_bytes if objects else costs.disk_bytes


def limits(costs: Costs, assumed: Assumed) -> list[Limit]:
    """Return what one of each part bears, the lowest first: that is what breaks first."""
    one = worker(costs, assumed, 1.0)
    node_ms = one.cpu_ms + costs.deliver_ms
    kept_s = assumed.journal_days * DAY_S * assumed.mean
    found = [
        Limit("one worker", one.per_second, "more workers, more nodes"),
        Limit(
            f"one worker's max_running of {MAX_RUNNING}, engine waits {assumed.engine_wait_s:g} s",
            MAX_RUNNING / (assumed.engine_wait_s + costs.latency_ms / 1000),
            "raise max_running, more workers",
        ),
        Limit(
            f"one journal's syncs of {assumed.journal_sync_ms:g} ms",
            min(MAX_RUNNING, MOST_EVENTS)
            / EVENTS
            / (assumed.journal_sync_ms + costs.commit_ms)
            * 1000,
            "a journal for each worker",
        ),
        Limit(
            f"one node's journal disk of {assumed.node_disk_gb:g} GB"
            f" for {assumed.journal_days:g} days",
            assumed.node_disk_gb * GB / costs.journal_bytes / kept_s,
            "more nodes; a new data folder, the old one kept elsewhere",
        ),
        Limit(
            f"one node of {assumed.node_cores:g} cores, files in a folder",
            assumed.node_cores / node_ms * 1000,
            "more nodes",
        ),
        Limit(
            "one deliverer, files in an object store",
            1000 / costs.deliver_s3_ms,
            "more journals, a deliverer each; files in a folder",
        ),
        Limit(
            "one deliverer, files in a folder",
            1000 / costs.deliver_ms,
            "more journals, a deliverer each",
        ),
        Limit(
            "one connection to PostgreSQL",
            1000 / costs.database_ms,
            "more journals, a deliverer each",
        ),
        Limit(
            f"one PostgreSQL of {assumed.database_cores:g} cores",
            assumed.database_cores * 1000 / costs.database_ms,
            "an MLflow with its database for each group of nodes",
        ),
        Limit(
            f"one PostgreSQL's log at {assumed.database_wal_mb_s:g} MB/s",
            assumed.database_wal_mb_s * 1e6 / costs.wal_bytes,
            "an MLflow with its database for each group of nodes",
        ),
        Limit(
            f"one MLflow's pages: {assumed.database_runs / 1e6:g} million runs"
            f" for {assumed.database_hours:g} h",
            assumed.database_runs / (assumed.database_hours * 3600 * assumed.mean),
            "an MLflow for each group of nodes; runs to the archive sooner",
        ),
        Limit(
            f"one prefix of a store at {assumed.prefix_puts_per_s:g} PUT/s",
            assumed.prefix_puts_per_s / costs.files,
            "an experiment, so a prefix, for each group of nodes",
        ),
    ]
    if assumed.tracker_share:
        found.append(
            Limit(
                f"one database of claims at {assumed.claims_per_s:g} taken or settled a second",
                assumed.claims_per_s / 2 / assumed.tracker_share,
                "a group of nodes for each range of callers, with claims of its own",
            )
        )
    return sorted(found, key=lambda limit: limit.per_second)


def money(costs: Costs, assumed: Assumed, rate: float, *, objects: bool) -> dict[str, float]:
    """Return US dollars a month by part, at the assumed prices."""
    one = worker(costs, assumed, assumed.target)
    mean = rate * assumed.mean
    node_ms = one.cpu_ms + deliver_ms(costs, objects=objects)
    hours = MONTH_S / 3600
    node_cores = ceil(rate * node_ms / 1000 / assumed.target / assumed.node_cores)
    node_cores *= ceil(assumed.node_cores)
    database_cores = rate * costs.database_ms / 1000 / assumed.target
    journal_gb = mean * DAY_S * assumed.journal_days * costs.journal_bytes / GB
    database_gb = mean * assumed.database_hours * 3600 * costs.database_bytes / GB
    file_gb = mean * DAY_S * assumed.artifact_days * _file_bytes(costs, objects=objects) / GB
    file_price = assumed.usd_object_gb_month if objects else assumed.usd_folder_gb_month
    found = {
        "nodes": node_cores * hours * assumed.usd_core_hour,
        "PostgreSQL's cores": database_cores * hours * assumed.usd_database_core_hour,
        "journals' disks": journal_gb * assumed.usd_disk_gb_month,
        "journals' syncs": rate * one.commits * assumed.usd_iops_month,
        "PostgreSQL's disks": database_gb * assumed.usd_disk_gb_month,
        "files, kept": file_gb * file_price,
        "model": mean * MONTH_S * assumed.usd_model,
    }
    if objects:
        found["files, PUT requests"] = mean * MONTH_S * costs.files / 1000 * assumed.usd_put_1000
    return found
