"""A real server whose backlog or disk has reached its limit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.web.conftest import ENVIRONMENT

from ddx import settings
from ddx.adapters.delivery_state import SqliteDeliveryState
from ddx.adapters.sqlite_journal import SqliteJournalReader
from ddx.core.delivery import Place
from ddx.web.api import create_app
from ddx.web.state import Server


@contextmanager
def serving(home: Path, **environment: str) -> Iterator[tuple[TestClient, Server]]:
    server = Server(settings.load({**ENVIRONMENT, **environment}, home=home))
    with TestClient(create_app(server)) as client:
        yield client, server


def post_until_refused(client: TestClient, server: Server, most: int) -> Any:
    for _ in range(most):
        response = client.post("/predict/v1", json={"case": "Fever for 3 days. " * 50})
        if response.status_code != 200:
            return response
        server.refresh()
    return pytest.fail(f"{most} requests were taken")


def events(server: Server) -> int:
    with closing(SqliteJournalReader(server.settings.data, "main")) as reader:
        return reader.last_seq()


def deliver_all(server: Server) -> None:
    """Move the deliverer's cursor to the journal's end, as a delivery does."""
    data = server.settings.data
    with (
        closing(SqliteJournalReader(data, "main")) as reader,
        closing(SqliteDeliveryState(data)) as state,
    ):
        state.set_place(Place(journal_id=reader.journal_id, door="bulk"))
        state.acknowledge(reader.journal_id, reader.last_seq())


def test_a_full_backlog_refuses_before_anything_is_kept_and_recovers_by_itself(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, DDX_MAX_BACKLOG_MB="0.3") as (client, server):
        refusal = post_until_refused(client, server, 500)
        assert (refusal.status_code, refusal.json()["code"]) == (503, "backlog_full")
        assert int(refusal.headers["retry-after"]) > 0
        assert client.get("/readyz").status_code == 503
        before = events(server)
        assert client.post("/predict/v1", json={"case": "Fever."}).status_code == 503
        assert events(server) == before
        metrics = client.get("/metrics").text
        assert 'ddx_refused_total{code="backlog_full"} 2.0' in metrics
        deliver_all(server)
        server.refresh()
        assert client.post("/predict/v1", json={"case": "Fever."}).status_code == 200
        found = {check["name"]: check["ok"] for check in client.get("/readyz").json()["checks"]}
        assert found["backlog"]


def test_a_disk_without_head_room_refuses_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [2**30]
    monkeypatch.setattr("ddx.adapters.system.free_bytes", lambda _folder: free[0])
    with serving(tmp_path, DDX_DISK_RESERVE_MB="1") as (client, server):
        free[0] = 2**20
        refusal = post_until_refused(client, server, 20)
        assert (refusal.status_code, refusal.json()["code"]) == (503, "journal_full")
        free[0] = 2**30
        server.refresh()
        server.refresh()
        assert client.post("/predict/v1", json={"case": "Fever."}).status_code == 200


def test_metrics_tell_progress_not_processes(tmp_path: Path) -> None:
    with serving(tmp_path) as (client, server):
        client.post("/predict/v1", json={"case": "Fever for 3 days."})
        server.refresh()
        gauges = dict(
            line.split(" ") for line in client.get("/metrics").text.splitlines() if line[0] != "#"
        )
    assert float(gauges["ddx_backlog_records"]) == 1.0
    assert float(gauges["ddx_backlog_oldest_seconds"]) >= 0.0
    assert float(gauges["ddx_journal_last_sync_timestamp_seconds"]) > 1.7e9
