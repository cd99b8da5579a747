"""How many runs a second the bulk door loads into PostgreSQL, and what each costs.

Rows alone (the files left out, which only this command can), with files in a folder, and with files
in an object store (rclone's S3 server); from drafts that are ready, and from encrypted journals by
one and by two deliverers, each a process with a journal of its own. Beside the rate stands the
processor time of the deliverers and of PostgreSQL for each run: the rate is what this machine's
cores allow at that moment, the processor time is what a run costs anywhere.

    python -m bench.bulk_load [--runs 3000] [--objects 300] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.postgres import a_postgres

from bench.load import free_port
from bench.tracking import fill, records
from ddx.adapters.delivery_state import SqliteDeliveryState
from ddx.adapters.mlflow_runs import BulkRuns, files
from ddx.adapters.sqlite_journal import SqliteJournal, SqliteJournalReader
from ddx.adapters.system import SystemClock, luck
from ddx.core.run_draft import draft
from ddx.services.deliver import Deliverer

KEY_ID, SECRET = "benchkey", "benchsecret"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """One round of one way."""

    runs_per_s: float
    ours_ms: float
    """Processor time of the deliverers for each run."""
    database_ms: float


class Cluster:
    """The processes of a PostgreSQL cluster."""

    def __init__(self, folder: Path) -> None:
        self._postmaster = int((folder / "data" / "postmaster.pid").read_text().split()[0])

    def cpu_s(self) -> float:
        """Processor time so far, of those that ended too."""
        total = 0
        for place in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, rest = int(place.parent.name), place.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if pid == self._postmaster:
                total += sum(map(int, rest[11:15]))
            elif int(rest[1]) == self._postmaster:
                total += int(rest[11]) + int(rest[12])
        return total / _TICKS


def without_files() -> None:
    """Leave the files out, from here on in this process."""
    files.store = lambda *_: None


def from_drafts(db_uri: str, artifacts: str, count: int, cluster: Cluster) -> Cost:
    """Load drafts that are ready, in this process, without their files."""
    store, drafts = files.store, [draft(record) for record in records(count)]
    without_files()
    try:
        with closing(BulkRuns(db_uri, artifacts, "bench")) as runs:
            runs.check()
            before, ours_s, began = cluster.cpu_s(), time.process_time(), time.monotonic()
            for start in range(0, count, runs.batch):
                refused = [
                    *filter(None, runs.deliver(drafts[start : start + runs.batch], {}).values())
                ]
                if refused:
                    sys.exit(f"error: MLflow refused {len(refused)} runs: {refused[0]}")
            taken_s, ours_s = time.monotonic() - began, time.process_time() - ours_s
    finally:
        files.store = store
    return Cost(count / taken_s, ours_s / count * 1e3, (cluster.cpu_s() - before) / count * 1e3)


def from_journals(
    db_uri: str,
    artifacts: str,
    count: int,
    cluster: Cluster,
    *,
    home: Path,
    deliverers: int,
    rows_alone: bool,
    environment: Mapping[str, str],
) -> Cost:
    """Deliver as many records as `count` from as many journals as deliverers."""
    data = Path(tempfile.mkdtemp(dir=home))
    each = count // deliverers
    for number in range(deliverers):
        with closing(SqliteJournal(data, f"j{number}")) as journal:
            fill(journal, each)
    children = []
    for number in range(deliverers):
        work = {
            "data": str(data),
            "instance": f"j{number}",
            "db_uri": db_uri,
            "artifacts": artifacts,
            "rows_alone": rows_alone,
        }
        children.append(
            subprocess.Popen(
                [sys.executable, "-m", "bench.bulk_load", "--work", json.dumps(work)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **environment},
            )
        )
    for child in children:
        _line(child)
    before, began = cluster.cpu_s(), time.monotonic()
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    told = [json.loads(_line(child)) for child in children]
    taken_s = time.monotonic() - began
    database_s = cluster.cpu_s() - before
    for child in children:
        child.communicate()
    done = sum(one["done"] for one in told)
    if done != each * deliverers:
        sys.exit(f"error: {done} of {each * deliverers} records were delivered")
    shutil.rmtree(data)
    ours_s = sum(one["cpu_s"] for one in told)
    return Cost(done / taken_s, ours_s / done * 1e3, database_s / done * 1e3)


def _line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        sys.exit("error: a deliverer died")
    return line


def work(asked: Mapping[str, str]) -> None:
    """Be one deliverer."""
    if asked["rows_alone"]:
        without_files()
    data = Path(asked["data"])
    with (
        closing(BulkRuns(asked["db_uri"], asked["artifacts"], "bench")) as runs,
        closing(SqliteJournalReader(data, asked["instance"])) as reader,
        closing(SqliteDeliveryState(data, shared=True)) as state,
    ):
        runs.check()
        runs.look_for([])
        deliverer = Deliverer(
            journals=lambda: [reader], runs=runs, state=state, clock=SystemClock(), luck=luck
        )
        print("ready", flush=True)
        sys.stdin.readline()
        before = time.process_time()
        done = deliverer.once().acknowledged
        print(json.dumps({"done": done, "cpu_s": time.process_time() - before}), flush=True)


@contextmanager
def object_store(home: Path) -> Iterator[dict[str, str] | None]:
    """An S3 server with a bucket; yield the environment of its clients, None where it is not."""
    rclone = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if rclone is None:
        yield None
        return
    (home / "objects" / "bucket").mkdir(parents=True)
    port = free_port()
    command = [
        *(rclone, "serve", "s3", str(home / "objects"), "--addr", f"127.0.0.1:{port}"),
        *("--auth-key", f"{KEY_ID},{SECRET}"),
    ]
    with (home / "rclone.log").open("wb") as log, subprocess.Popen(command, stderr=log) as server:
        try:
            time.sleep(2)
            yield {
                "AWS_ACCESS_KEY_ID": KEY_ID,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
                "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
                "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            }
        finally:
            server.terminate()


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--runs", type=int, default=3000)
    options.add_argument("--objects", type=int, default=300)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--work", help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.work:
        work(json.loads(asked.work))
        return
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ddx-bench-")))
        s3 = stack.enter_context(object_store(home))
        table(ways(stack, home, s3, asked), asked)


def ways(
    stack: ExitStack, home: Path, s3: Mapping[str, str] | None, asked: argparse.Namespace
) -> dict[str, Callable[[], Cost]]:
    """Return the rows of the table, each with what measures it once."""
    # An experiment has one place for its files, so each place has a database of its own.
    db_uri, cluster = _database(stack, home / "postgres")
    folder, environment = str(home / "artifacts"), {"PYTHONPATH": os.pathsep.join(sys.path)}

    def journals(deliverers: int, *, rows_alone: bool) -> Callable[[], Cost]:
        return lambda: from_journals(
            db_uri,
            folder,
            asked.runs,
            cluster,
            home=home,
            deliverers=deliverers,
            rows_alone=rows_alone,
            environment=environment,
        )

    found = {
        "rows alone, drafts ready": lambda: from_drafts(db_uri, folder, asked.runs, cluster),
        "rows alone, 1 deliverer": journals(1, rows_alone=True),
        "rows alone, 2 deliverers": journals(2, rows_alone=True),
        "files in a folder, 1 deliverer": journals(1, rows_alone=False),
        "files in a folder, 2 deliverers": journals(2, rows_alone=False),
    }
    if s3 is not None:
        other_uri, other = _database(stack, home / "postgres-s3")
        found["files in an S3 bucket, 1 deliverer"] = lambda: from_journals(
            other_uri,
            "s3://bucket/mlflow",
            asked.objects,
            other,
            home=home,
            deliverers=1,
            rows_alone=False,
            environment={**environment, **s3},
        )
    return found


def _database(stack: ExitStack, folder: Path) -> tuple[str, Cluster]:
    folder.mkdir()
    return stack.enter_context(a_postgres(folder)), Cluster(folder)


def table(found: Mapping[str, Callable[[], Cost]], asked: argparse.Namespace) -> None:
    """Measure in turns, so that a busy moment meets all, and print medians."""
    costs: dict[str, list[Cost]] = {name: [] for name in found}
    for _ in range(asked.rounds):
        for name, measure in found.items():
            costs[name].append(measure())
    load = os.getloadavg()[1]
    print(f"PostgreSQL, medians of {asked.rounds} rounds of {asked.runs} runs; load {load:.1f}")
    print(f"{'':34} {'runs/s':>8} {'best':>8} {'ours, ms':>9} {'database, ms':>13}")
    for name, rounds in costs.items():
        rates = [one.runs_per_s for one in rounds]
        ours = statistics.median(one.ours_ms for one in rounds)
        database = statistics.median(one.database_ms for one in rounds)
        rate = statistics.median(rates)
        print(f"{name:34} {rate:8.0f} {max(rates):8.0f} {ours:9.3f} {database:13.3f}")


if __name__ == "__main__":
    main()
