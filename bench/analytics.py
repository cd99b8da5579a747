"""What a million predictions cost to look at.

A ledger of made-up rows over fifty days, behind a real server: its dashboard's whole page of
figures, the same page again, the page in Chromium until its largest part is painted, `ddx report`
by day and model, bytes for each row, memory. Beside it, in the same run, the baseline: MLflow with
fewer runs, asked for success by day through its search API, and by SQL over its own tables.

    python -m bench.analytics [--rows 1000000] [--runs 20000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from bench.load import free_port, process, rss_mb
from bench.pages import drafts
from bench.tracking import QUIET, mlflow_server
from ddx.adapters.mlflow_runs import BulkRuns
from ddx.adapters.parquet_ledger import LedgerReader, ParquetLedger
from ddx.core import ids
from ddx.core.report import By, Question
from ddx.core.run_draft import EXPERIMENT
from ddx.core.usage import UsageRow
from ddx.services.report import report

DAYS = 50
_BATCH = 20_000
_DECLINED = "insufficient_information"
_MODELS = ("gemini-2.0-flash",) * 5 + ("gpt-4o",) * 2 + ("knowledge",) * 3
_PAINTED = """() => new Promise(done => new PerformanceObserver(list => {
    const all = list.getEntries(); done(all[all.length - 1].startTime)
}).observe({type: "largest-contentful-paint", buffered: true}))"""
_SQL = """
    select date(r.start_time / 1000, 'unixepoch') as day, count(*), avg(m.value)
    from runs r join latest_metrics m on m.run_uuid = r.run_uuid and m.key = 'success'
    where r.lifecycle_stage = 'active' group by day
"""


def rows(count: int) -> Iterator[UsageRow]:
    """Yield predictions as a busy service would have: three models, a twentieth fails."""
    luck = Random(1)
    first = datetime.now(UTC).replace(microsecond=0) - timedelta(days=DAYS)
    for number in range(count):
        at = first + timedelta(seconds=number * DAYS * 86_400 / count)
        model = luck.choice(_MODELS)
        asked = model != "knowledge"
        chance = luck.random()
        failed = chance < 0.05
        outcome = "failed" if failed else "answered" if chance < 0.95 else _DECLINED
        seconds = abs(luck.gauss(4, 2)) + 0.2 if asked else luck.random() * 0.02
        yield UsageRow(
            prediction_id=ids.prediction_id(at, luck.randbytes(10)),
            received_at=at,
            model=model,
            llm=model if asked else None,
            prompt=luck.choice((1, 1, 2)) if asked else None,
            temperature=luck.choice((0.0, 0.7)) if asked else None,
            top_k=5 if asked else None,
            max_tokens=10_000 if asked else None,
            outcome=outcome,
            error_code=luck.choice(("model_deadline", "model_error")) if failed else None,
            status=502 if failed else 200,
            caller="anonymous",
            instance="main",
            version="0.1.0",
            case_chars=luck.randrange(50, 3000),
            duration_s=seconds,
            llm_s=seconds - 0.02 if asked else None,
            attempts=1 if asked else None,
            input_tokens=luck.randrange(800, 2000) if asked else None,
            output_tokens=luck.randrange(300, 1500) if asked else None,
            cached_tokens=None,
            cost_usd=luck.random() * 0.002 if asked else 0.0,
            diagnoses=None if failed else 10,
            unsupported_quotes=0,
            prompt_digest="a" * 12,
            program_digest="b" * 12,
            retry_of=None,
            replay_of=None,
        )


def fill(data: Path, count: int) -> None:
    """Write the ledger as the deliverer does, and put its files together."""
    ledger, batch, seq = ParquetLedger(data), [], 0
    for row in rows(count):
        batch.append(row)
        if len(batch) == _BATCH:
            seq += 2 * len(batch)
            ledger.add("j" * 32, seq, batch, [])
            batch = []
    ledger.add("j" * 32, seq + 2 * len(batch) + 1, batch, [])
    ledger.tend()


def by_search(address: str) -> int:
    """Success by day through MLflow's own client, a thousand runs at a time."""
    from mlflow import MlflowClient

    client = MlflowClient(address)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    days: dict[str, list[float]] = {}
    token: str | None = None
    while True:
        page: Any = client.search_runs(
            [experiment.experiment_id], max_results=1000, page_token=token
        )
        for run in page:
            day = datetime.fromtimestamp(run.info.start_time / 1000, UTC).date().isoformat()
            days.setdefault(day, []).append(run.data.metrics["success"])
        token = page.token
        if not token:
            return sum(len(found) for found in days.values())


def by_sql(path: Path) -> int:
    """The same by one statement over MLflow's tables."""
    with closing(sqlite3.connect(path)) as db:
        return sum(count for _, count, _ in db.execute(_SQL))


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def got(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        body: bytes = answer.read()
        return body


def painted_ms(url: str, rounds: int) -> float | None:
    """Return when the largest part of a page is painted in Chromium; None without one."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as library:
        browser = library.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        found = []
        for _ in range(rounds):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(url)
            page.wait_for_load_state("load")
            found.append(float(page.evaluate(_PAINTED)))
            page.close()
        browser.close()
    return statistics.median(found)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--runs", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=5)
    asked = options.parse_args()
    os.environ |= QUIET
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ddx-bench-")))
        address = stack.enter_context(mlflow_server(home))
        db_uri, artifacts = f"sqlite:///{home}/mlflow.db", str(home / "artifacts")
        with closing(BulkRuns(db_uri, artifacts, "bench")) as runs:
            chance = Random(1)
            for start in range(0, asked.runs, runs.batch):
                runs.deliver(drafts(min(runs.batch, asked.runs - start), chance), {})
        search = timed(lambda: by_search(address))
        sql = statistics.median(
            timed(lambda: by_sql(home / "mlflow.db")) for _ in range(asked.rounds)
        )
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ddx-bench-")))
        data = home / "ddx_data"
        data.mkdir(mode=0o700)
        fill(data, asked.rows)
        size = sum(one.stat().st_size for one in (data / "ledger").rglob("*.parquet"))
        reader = LedgerReader(data)
        reader.figures(Question(by=(By.DAY,)), counts=True)  # the library's own first second
        simple = statistics.median(
            timed(lambda: reader.figures(Question(by=(By.DAY,)), counts=True))
            for _ in range(asked.rounds)
        )
        by_day = Question(by=(By.DAY, By.MODEL))
        whole = statistics.median(
            timed(lambda: report(reader, by_day)) for _ in range(asked.rounds)
        )
        port = free_port()
        names = {"DDX_HOME": str(home), "DDX_PORT": str(port)}
        url = f"http://127.0.0.1:{port}"
        server = stack.enter_context(
            process(
                [sys.executable, "-m", "ddx", "serve", "--no-deliverer"],
                f"{url}/readyz",
                names,
                home / "server.log",
            )
        )
        before = rss_mb(server.pid)
        first = timed(lambda: got(f"{url}/dashboard?range=all"))
        # Another filter each time: nothing of an earlier look is kept.
        others = ("7d", "30d", "90d")
        new = [timed(partial(got, f"{url}/dashboard?range={one}")) for one in others]
        again = statistics.median(
            timed(lambda: got(f"{url}/dashboard?range=all")) for _ in range(asked.rounds)
        )
        paint = painted_ms(f"{url}/dashboard?range=all", asked.rounds)
        memory = rss_mb(server.pid)

    show(f"{asked.rows:,} predictions in the ledger, {asked.runs:,} runs in MLflow")
    show("success by day", "s", "µs each")
    show("  MLflow's search API", search, 1e6 * search / asked.runs)
    show("  SQL over MLflow's tables", sql, 1e6 * sql / asked.runs)
    show("  the ledger", simple, 1e6 * simple / asked.rows)
    show("  ledger : API, for each", search / asked.runs / (simple / asked.rows))
    show("  ledger : SQL, for each", sql / asked.runs / (simple / asked.rows))
    show("", "measured", "target")
    show("report by day and model, s", whole, 0.5)
    show("dashboard, all figures, first of all, s", first, 1)
    for name, one in zip(others, new, strict=True):
        show(f"dashboard, {name} for the first time, s", one, 1)
    show("dashboard, again, s", again, 0.2)
    if paint is not None:
        show("largest paint in Chromium, ms", paint, 1000)
    show("bytes for each prediction", size / asked.rows, 100)
    show("memory of the server, MB", memory, 500)
    show("  before it was looked at", before)


def show(name: str, *values: float | str) -> None:
    shown = "".join(f"{v:>14}" if isinstance(v, str) else f"{v:>14,.4g}" for v in values)
    print(f"{name:40}{shown}")


if __name__ == "__main__":
    main()
