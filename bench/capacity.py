"""Capacity on paper, and held against what is measured.

Measures what one prediction costs with one process and one delivery, says from that what 1, 2 and 4
workers answer on this machine, then measures them: with an engine that takes no time, and with one
that burns 5 ms. Or, with `--plan`, says what a rate needs, what breaks first, and the money, from
the costs in bench/capacity_costs.toml and the assumptions in bench/capacity.toml.

    python -m bench.capacity [--seconds 8] [--workers 1,2,4] [--connections 32] [--rounds 3]
                             [--save FILE]
    python -m bench.capacity --plan 10000 [--inputs FILE]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bench.capacity_costs import server, server_costs, syncs_ms
from bench.capacity_delivery import delivery_costs
from bench.capacity_model import Costs, Forecast, Place, forecast
from bench.capacity_plan import Assumed, limits, money, needs
from bench.processes import turns_a_second, usable_cores

ASSUMED = Path(__file__).with_suffix(".toml")
COSTS = Path(__file__).with_name("capacity_costs.toml")
CALM = 1.0
"""Load average from which on other work spoils the figures."""
PROBE_S = 1.0
HEADER = """\
| engine, ms | workers | predicted, a second | measured | ratio | CPU ms predicted | measured \
| ratio | syncs predicted | measured | cores got | n | bound by |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One measured server, and what the model had said."""

    said: Forecast
    per_second: float
    cpu_ms: float
    commits: float
    count: int
    cores: float
    """That the server and the load got, by the kernel's account."""


def measure_costs(home: Path, asked: argparse.Namespace) -> Costs:
    return Costs(
        **server_costs(home, asked.connections, asked.seconds, syncs_ms(home, 1)),
        **delivery_costs(home, asked.runs, asked.objects),
    )


def measure(
    home: Path, costs: Costs, workers: int, engine_ms: float, unit: float, asked: argparse.Namespace
) -> Round:
    """Load a server, look before and after at what the machine gives, and ask the model."""
    folder = Path(tempfile.mkdtemp(dir=home))
    looks = [look(folder, workers, unit)]
    with server(folder / "home", workers, engine_ms) as served:
        found = served.under(asked.connections, asked.seconds)
    looks.append(look(folder, workers, unit))
    worker_cores, all_cores, sync_ms = (
        statistics.mean(column) for column in zip(*looks, strict=True)
    )
    said = forecast(
        costs,
        Place(
            workers=workers,
            connections=asked.connections,
            worker_cores=worker_cores,
            all_cores=all_cores,
            sync_ms=sync_ms,
            engine_ms=engine_ms,
        ),
    )
    if found.load.refused:
        sys.exit(f"error: {found.load.refused} requests were refused")
    return Round(
        said=said,
        per_second=found.load.per_second,
        cpu_ms=1000 * found.taken.cpu_s / found.count,
        commits=found.commits / found.count,
        count=found.count,
        cores=(found.taken.cpu_s + found.generator_s) / asked.seconds,
    )


def look(folder: Path, workers: int, unit: float) -> tuple[float, float, float]:
    """Return cores for the workers, cores with the load, and ms of a sync, at this moment."""
    return (
        usable_cores(workers, PROBE_S, unit),
        usable_cores(workers + 1, PROBE_S, unit),
        syncs_ms(folder, workers),
    )


def compare(home: Path, asked: argparse.Namespace) -> None:
    """Print costs, forecasts and measured rates, and whether the machine was calm enough."""
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load average before {load:.2f}", flush=True)
    unit = turns_a_second(PROBE_S)
    costs = measure_costs(home, asked)
    print("\n".join(costs_lines(costs)), flush=True)
    if asked.save:
        about = (
            f"# {os.cpu_count()} cores, load average before {load:.2f}, {asked.seconds:g} s each."
        )
        asked.save.write_text("\n".join([about, *costs_lines(costs)]) + "\n")
    print("\n" + HEADER, flush=True)
    ratios = []
    for engine_ms in asked.engine_ms:
        for workers in asked.workers:
            rounds = [
                measure(home, costs, workers, engine_ms, unit, asked) for _ in range(asked.rounds)
            ]
            ratios.append(line(engine_ms, workers, rounds))
    worst = max(abs(ratio - 1) for ratio in ratios)
    print(f"furthest from the model: {worst:.0%}; medians of {asked.rounds} rounds")
    if load > CALM:
        print(f"NOT VALID: the load average before was {load:.2f}, more than {CALM:g}")


def line(engine_ms: float, workers: int, rounds: list[Round]) -> float:
    """Print one row; return measured over predicted."""

    def median(of: str) -> float:
        return float(statistics.median(getattr(one, of) for one in rounds))

    said = statistics.median(one.said.per_second for one in rounds)
    said_ms = statistics.median(one.said.cpu_ms for one in rounds)
    said_commits = statistics.median(one.said.commits for one in rounds)
    ratio, ms = median("per_second") / said, median("cpu_ms")
    print(
        f"| {engine_ms:g} | {workers} | {said:.0f} | {median('per_second'):.0f} | {ratio:.2f}"
        f" | {said_ms:.2f} | {ms:.2f} | {ms / said_ms:.2f}"
        f" | {said_commits:.2f} | {median('commits'):.2f} | {median('cores'):.2f}"
        f" | {sum(one.count for one in rounds):,} | {rounds[-1].said.bound_by} |",
        flush=True,
    )
    return ratio


def costs_lines(costs: Costs) -> list[str]:
    return ["[costs]", *(f"{name} = {value:.6g}" for name, value in asdict(costs).items())]


def inputs(override: Path | None) -> tuple[Costs, Assumed]:
    """Return what the plan reckons with. An unknown name ends the command."""
    tables = tomllib.loads(ASSUMED.read_text() + COSTS.read_text())
    for table, values in tomllib.loads(override.read_text() if override else "").items():
        known = {"costs": Costs, "assumed": Assumed}.get(table)
        names = {field.name for field in fields(known)} if known else set()
        if unknown := set(values) - names:
            sys.exit(f"error: [{table}] has no {', '.join(sorted(unknown))}")
        tables[table] |= values
    costs: dict[str, Any] = tables["costs"]
    return Costs(**costs), Assumed(**tables["assumed"])


def plan_lines(rate: float, override: Path | None = None) -> list[str]:
    """Return what a rate needs, what breaks first, and the money, as tables of Markdown."""
    costs, assumed = inputs(override)
    ways = (True, False)
    found = [
        {(need.part, need.what): need.amount for need in needs(costs, assumed, rate, objects=way)}
        for way in ways
    ]
    bills = [money(costs, assumed, rate, objects=way) for way in ways]
    lines = ["| part | what | files as objects | files in a folder |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {part} | {what} | {_amount(found[0][part, what])}"
        f" | {_amount(found[1].get((part, what)))} |"
        for part, what in found[0]
    ]
    lines += ["", "| one of each bears | a second | beyond it |", "| --- | --- | --- |"]
    for number, limit in enumerate(limits(costs, assumed)):
        mark = " (breaks first)" if number == 0 else "" if limit.per_second < rate else " (enough)"
        lines.append(f"| {limit.part} | {_amount(limit.per_second)}{mark} | {limit.change} |")
    lines += ["", "| US dollars a month | files as objects | files in a folder |"]
    lines += ["| --- | --- | --- |"]
    for name in dict.fromkeys([*bills[0], *bills[1]]):
        lines.append(f"| {name} | {_amount(bills[0].get(name))} | {_amount(bills[1].get(name))} |")
    total, other = (sum(bill.values()) for bill in bills)
    return [*lines, f"| all | {_amount(total)} | {_amount(other)} |"]


def _amount(amount: float | None) -> str:
    """Return three digits at most: nothing here is known better."""
    if amount is None:
        return "none"
    return f"{float(f'{amount:.3g}'):,.0f}" if amount >= 10 else f"{amount:.2g}"


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--seconds", type=float, default=8)
    options.add_argument("--workers", type=_numbers(int), default=[1, 2, 4])
    options.add_argument("--engine-ms", type=_numbers(float), default=[0.0, 5.0])
    options.add_argument("--connections", type=int, default=32)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--runs", type=int, default=2000, help="delivered, files in a folder")
    options.add_argument("--objects", type=int, default=60, help="runs with files in a bucket")
    options.add_argument("--save", type=Path, help="write the costs to a file for --inputs")
    options.add_argument("--plan", type=float, help="predictions a second to plan for")
    options.add_argument("--inputs", type=Path, help="TOML that overrides those two files")
    asked = options.parse_args()
    if asked.plan is not None:
        print("\n".join(plan_lines(asked.plan, asked.inputs)))
        return
    with tempfile.TemporaryDirectory(prefix="ddx-bench-") as folder:
        compare(Path(folder), asked)


def _numbers(kind: type[float]) -> Callable[[str], list[float]]:
    return lambda text: [kind(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
