"""How long MLflow's pages take on SQLite with many runs, while runs are still being delivered.

Asks what the runs page asks: the first page, and the page sorted by processing_time. Then the
same sort without the statistics that the deliverer gathers, as MLflow alone would do it.

    python -m bench.pages [--runs 100000] [--rounds 5] [--limit 90]
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from bench.tracking import QUIET, mlflow_server, records
from ddx.adapters.mlflow_runs import BulkRuns
from ddx.core.run_draft import EXPERIMENT, RunDraft, draft
from ddx.errors import TrackerUnavailable

PAGE = 100


def drafts(count: int, chance: Random) -> list[RunDraft]:
    """Runs without files, each with a processing time of its own."""
    made = (draft(record) for record in records(count))
    return [
        replace(one, files={}, metrics={**one.metrics, "processing_time": chance.random()})
        for one in made
    ]


@dataclass
class Writer:
    """Delivers batches until told to stop, as the deliverer does beside a person in the pages."""

    runs: BulkRuns
    stop: threading.Event
    written: int = 0
    refused: int = 0

    def work(self) -> None:
        chance = Random(2)
        while not self.stop.is_set():
            batch = drafts(100, chance)
            try:
                self.runs.deliver(batch, {})
                self.written += len(batch)
            except TrackerUnavailable:
                self.refused += 1
            self.stop.wait(0.5)


def ask(address: str, experiment: str, order: list[str], limit_s: float) -> float:
    """Return how long one page took, in seconds; `limit_s` where it took longer."""
    body = {"experiment_ids": [experiment], "max_results": PAGE, "order_by": order}
    request = urllib.request.Request(
        f"{address}/ajax-api/2.0/mlflow/runs/search",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    began = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=limit_s) as answer:
            found = len(json.load(answer)["runs"])
    except (TimeoutError, urllib.error.URLError):
        return limit_s
    assert found == PAGE
    return time.monotonic() - began


def experiment_id(address: str) -> str:
    url = f"{address}/api/2.0/mlflow/experiments/get-by-name?experiment_name={EXPERIMENT}"
    with urllib.request.urlopen(url) as answer:
        return str(json.load(answer)["experiment"]["experiment_id"])


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--runs", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--limit", type=float, default=90, help="seconds to wait for a page")
    asked = options.parse_args()
    os.environ |= QUIET
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ddx-bench-")))
        address = stack.enter_context(mlflow_server(home))
        db_uri, artifacts = f"sqlite:///{home}/mlflow.db", str(home / "artifacts")
        runs = stack.enter_context(closing(BulkRuns(db_uri, artifacts, "bench")))
        chance = Random(1)
        for start in range(0, asked.runs, runs.batch):
            runs.deliver(drafts(min(runs.batch, asked.runs - start), chance), {})
        id = experiment_id(address)
        newest = ["attributes.start_time DESC"]
        slowest = ["metrics.`processing_time` DESC"]
        ask(address, id, newest, asked.limit)
        beside = Writer(
            stack.enter_context(closing(BulkRuns(db_uri, artifacts, "bench"))), threading.Event()
        )
        thread = threading.Thread(target=beside.work)
        thread.start()

        def median(page: Callable[[], float]) -> float:
            return statistics.median(page() for _ in range(asked.rounds))

        first = median(lambda: ask(address, id, newest, asked.limit))
        by_time = median(lambda: ask(address, id, slowest, asked.limit))
        beside.stop.set()
        thread.join()
        with closing(sqlite3.connect(home / "mlflow.db")) as database, database:
            database.execute("delete from sqlite_stat1")
        alone = ask(address, id, slowest, asked.limit)
        print(f"{asked.runs} runs; medians of {asked.rounds}, while {beside.written} more came")
        print(f"first page             {first:6.2f} s")
        print(f"by processing_time     {by_time:6.2f} s")
        more = "more than " if alone >= asked.limit else ""
        print(f"the same without statistics: {more}{alone:.1f} s, {alone / by_time:.0f} x")
        print(f"batches refused while the pages were asked: {beside.refused}")


if __name__ == "__main__":
    main()
