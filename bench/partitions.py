"""What one experiment for each month does to MLflow's runs page.

As many runs in one experiment as in twelve, on SQLite, then the first page of the newest, and the
page sorted by processing_time, of the present experiment; and of all twelve together.

    python -m bench.partitions [--runs 12000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import urllib.request
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from bench.pages import PAGE, drafts
from bench.tracking import QUIET, mlflow_server
from ddx.adapters.mlflow_runs import BulkRuns
from ddx.core.partition import is_ours
from ddx.core.run_draft import EXPERIMENT, RunDraft, epoch_ms

MONTHS = 12
NEWEST = ["attributes.start_time DESC"]
SLOWEST = ["metrics.`processing_time` DESC"]


def in_month(one: RunDraft, month: int) -> RunDraft:
    start_ms = epoch_ms(datetime(2026, month, 1, tzinfo=UTC))
    return replace(one, start_ms=start_ms, end_ms=start_ms + 1000)


def ask(address: str, what: str, body: dict[str, object]) -> dict[str, list[dict[str, str]]]:
    request = urllib.request.Request(
        f"{address}/ajax-api/2.0/mlflow/{what}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        found: dict[str, list[dict[str, str]]] = json.load(answer)
    return found


def measure(*, monthly: bool, runs: int, rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="ddx-bench-") as folder:
        home, chance = Path(folder), Random(1)
        with mlflow_server(home) as address:
            uri, artifacts = f"sqlite:///{home}/mlflow.db", str(home / "artifacts")
            with closing(BulkRuns(uri, artifacts, "bench", monthly=monthly)) as door:
                for month in range(1, MONTHS + 1):
                    made = [in_month(one, month) for one in drafts(runs // MONTHS, chance)]
                    for start in range(0, len(made), door.batch):
                        door.deliver(made[start : start + door.batch], {})
            known = ask(address, "experiments/search", {"max_results": 100})["experiments"]
            ours = [one for one in known if is_ours(one["name"])]
            now = [one["experiment_id"] for one in ours if one["name"] == EXPERIMENT]
            looks = {"present": now, "all": [one["experiment_id"] for one in ours]}
            return {
                f"{name}, {order}": _median(address, ids, by, rounds)
                for name, ids in looks.items()
                for order, by in (("newest first", NEWEST), ("by processing_time", SLOWEST))
            }


def _median(address: str, ids: list[str], by: list[str], rounds: int) -> float:
    body: dict[str, object] = {"experiment_ids": ids, "max_results": PAGE, "order_by": by}
    taken = []
    for _ in range(rounds + 1):
        began = time.monotonic()
        assert len(ask(address, "runs/search", body)["runs"]) == PAGE
        taken.append(time.monotonic() - began)
    return statistics.median(taken[1:])


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--runs", type=int, default=12_000)
    options.add_argument("--rounds", type=int, default=5)
    asked = options.parse_args()
    os.environ |= QUIET
    one = measure(monthly=False, runs=asked.runs, rounds=asked.rounds)
    twelve = measure(monthly=True, runs=asked.runs, rounds=asked.rounds)
    print(f"{asked.runs} runs, medians of {asked.rounds}; load {os.getloadavg()[1]:.1f}")
    print(f"{'seconds':32} {'one experiment':>15} {'twelve':>8} {'ratio':>6}")
    for look, taken_s in twelve.items():
        before = one[look]
        print(f"{look:32} {before:15.3f} {taken_s:8.3f} {before / taken_s:6.1f}")


if __name__ == "__main__":
    main()
