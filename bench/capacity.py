"""Capacity on paper, and held against what is measured.

Measures what one prediction costs with one process and one delivery, says from that what 1, 2 and 4
workers answer on this machine, and measures them: with an engine that takes no time, and with one
that burns 5 ms. Or, with `--plan`, says what a rate needs, what breaks first, and the money, from
the costs in bench/capacity_costs.toml and the assumptions in bench/capacity.toml.

    python -m bench.capacity [--seconds 4] [--workers 1,2,4] [--connections 32] [--rounds 9]
                             [--save FILE]
    python -m bench.capacity --plan 10000 [--inputs FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from bench.capacity_delivery import delivery_costs
from bench.capacity_model import Costs, Place, forecast
from bench.capacity_plan import Assumed, limits, money, needs
from bench.capacity_rounds import Kind, Measured, measured, medians

ASSUMED = Path(__file__).with_suffix(".toml")
COSTS = Path(__file__).with_name("capacity_costs.toml")
CALM = 1.0
"""Load average from which on other work spoils the figures."""
HEADER = """\
| engine, ms | workers | predicted, a second | measured | ratio | CPU ms predicted | measured \
| ratio | syncs predicted | measured | cores got | n | bound by |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def compare(home: Path, asked: argparse.Namespace) -> None:
    """Print costs, forecasts and measured rates, and whether the machine was calm enough."""
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load average before {load:.2f}", flush=True)
    delivery = delivery_costs(home, asked.runs, asked.objects)
    kinds = [(engine_ms, workers) for engine_ms in asked.engine_ms for workers in asked.workers]
    found = measured(home, kinds, asked.connections, asked.seconds, asked.rounds)
    costs = Costs(**found.costs, **delivery)
    print("\n".join(costs_lines(costs)))
    if asked.save:
        about = (
            f"# {os.cpu_count()} cores, load average before {load:.2f}, medians of"
            f" {asked.rounds} rounds of {asked.seconds:g} s."
        )
        asked.save.write_text("\n".join([about, *costs_lines(costs)]) + "\n")
    print("\n" + HEADER)
    worst = max(abs(line(kind, costs, found, asked.connections) - 1) for kind in kinds)
    print(f"furthest from the model: {worst:.0%}; medians of {asked.rounds} rounds")
    if load > CALM:
        print(f"NOT VALID: the load average before was {load:.2f}, more than {CALM:g}")


def line(kind: Kind, costs: Costs, found: Measured, connections: int) -> float:
    """Print one row; return measured over predicted."""
    engine_ms, workers = kind
    middle = medians([asdict(one) for one in found.rounds[kind]])
    place = Place(
        workers=workers,
        cores=os.cpu_count() or 1,
        connections=connections,
        worker_cores=found.cores[workers],
        all_cores=found.cores[workers + 1],
        sync_ms=found.sync_ms[workers],
        engine_ms=engine_ms,
    )
    said = forecast(costs, place)
    count = sum(one.count for one in found.rounds[kind])
    ratio = middle["per_second"] / said.per_second
    print(
        f"| {engine_ms:g} | {workers} | {said.per_second:.0f} | {middle['per_second']:.0f}"
        f" | {ratio:.2f} | {said.cpu_ms:.2f} | {middle['cpu_ms']:.2f}"
        f" | {middle['cpu_ms'] / said.cpu_ms:.2f} | {said.commits:.2f} | {middle['commits']:.2f}"
        f" | {middle['cores']:.2f} | {count:,} | {said.bound_by} |"
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
    options.add_argument("--seconds", type=float, default=4)
    options.add_argument("--workers", type=_numbers(int), default=[1, 2, 4])
    options.add_argument("--engine-ms", type=_numbers(float), default=[0.0, 5.0])
    options.add_argument("--connections", type=int, default=32)
    options.add_argument("--rounds", type=int, default=9)
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
