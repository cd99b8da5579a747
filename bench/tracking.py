"""MLflow as a user starts it, for the benchmarks; and records to bring into it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tests.make import a_request, finished

from bench.load import CASE, free_port, process
from ddx.adapters.sqlite_journal import SqliteJournal
from ddx.core import ids
from ddx.core.record import Prediction

QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
}


@contextmanager
def mlflow_server(home: Path, db_uri: str | None = None) -> Iterator[str]:
    """MLflow with one worker, on SQLite unless told otherwise; yield its address."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", db_uri or f"sqlite:///{home}/mlflow.db"),
        *("--default-artifact-root", str(home / "artifacts")),
    ]
    address = f"http://127.0.0.1:{port}"
    with process(command, f"{address}/health", QUIET, home / "mlflow.log"):
        yield address


def records(count: int) -> Iterator[Prediction]:
    """Yield finished predictions of about 9 kB each, with ids of their own."""
    pattern = finished()
    for _ in range(count):
        now = datetime.now(UTC)
        yield replace(
            pattern,
            id=ids.prediction_id(now, os.urandom(10)),
            received_at=now,
            request=a_request(case=CASE),
        )


def fill(journal: SqliteJournal, count: int) -> None:
    """Keep this many finished records, as a server under load would have."""
    waiting = []
    for record in records(count):
        waiting.append(journal.accept(record, None))
        if len(waiting) == 256:
            for kept in waiting:
                kept.result()
            waiting.clear()
    for kept in waiting:
        kept.result()
