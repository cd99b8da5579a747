"""A real server is killed in the middle of a batch, and clients leave in the middle of a stream."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.system.stack import Reply, Stack, free_port

CASES = 14
WAIT_S = 0.25


class Site:
    """One server over a data folder, with a slow engine; it can be killed and started again."""

    def __init__(self, home: Path) -> None:
        self.stack = Stack(home, free_port(), free_port())

    def asked(self) -> list[str]:
        """Every question that the engine got, of all processes."""
        return (self.stack.home / "asked").read_text().splitlines()

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        environment = {
            **os.environ,
            "DDX_HOME": str(self.stack.home),
            "DDX_PORT": str(self.stack.port),
            "DDX_BENCH_MODELS": "1",
            "DDX_DEFAULT_MODEL": "instant",
        }
        with (self.stack.home / "log").open("ab") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.slow", str(WAIT_S), "serve", "--no-deliverer"],
                env=environment,
                cwd=Path(__file__).parents[2],
                stdout=log,
                stderr=log,
            )
        try:
            self.stack.wait(lambda: self.stack.get("/readyz").status == 200, 60)
            yield server
        finally:
            if server.poll() is None:
                server.send_signal(signal.SIGTERM)
            server.wait(30)

    def send(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=30)
        try:
            kind = {"Content-Type": "application/json"}
            connection.request("POST", path, json.dumps(body), {**kind, **(headers or {})})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, answer.read(), found)
        finally:
            connection.close()

    def predictions(self) -> list[dict[str, Any]]:
        listing = self.stack.get("/predictions?limit=100").json()
        found: list[dict[str, Any]] = listing["predictions"]
        return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def finished(site: Site, url: str) -> int:
    return int(site.stack.get(url).json()["finished"])


def test_every_case_of_a_batch_is_answered_once_though_the_server_is_killed_twice(
    site: Site,
) -> None:
    cases = [{"case": f"Case {number}: fever for 3 days."} for number in range(CASES)]
    with site.serving() as server:
        taken = site.send("/predict/v1/batch", {"cases": cases}, {"Idempotency-Key": "b"})
        assert taken.status == 202
        url = taken.json()["status_url"]
        site.stack.wait(lambda: finished(site, url) >= 2, 20)
        server.kill()
    with site.serving() as server:
        site.stack.wait(lambda: finished(site, url) >= 7, 20)
        assert finished(site, url) < CASES
        server.kill()
    with site.serving():
        again = site.send("/predict/v1/batch", {"cases": cases}, {"Idempotency-Key": "b"})
        assert again.json()["batch_id"] == taken.json()["batch_id"]
        site.stack.wait(lambda: site.stack.get(url).json()["status"] == "done", 30)
        lines = [json.loads(line) for line in site.stack.get(url + "/results").body.splitlines()]
        kept = site.predictions()

    assert [line["index"] for line in lines] == list(range(CASES))
    assert {line["status"] for line in lines} == {200}
    answered = [one for one in kept if one["outcome"] == "answered"]
    assert Counter(one["tracker"] for one in answered) == {line["tracker"]: 1 for line in lines}
    assert {one["prediction_id"] for one in answered} == {line["prediction_id"] for line in lines}
    cut_off = {one["prediction_id"] for one in kept if one["outcome"] == "interrupted"}
    assert len(kept) == CASES + len(cut_off)
    assert len(cut_off) <= 8  # four at once, killed twice
    assert {one["retry_of"] for one in kept if one["retry_of"]} == cut_off
    asked = Counter(site.asked())
    assert len(asked) == CASES
    assert sum(asked.values()) <= CASES + 8


def test_a_server_that_is_asked_to_stop_goes_on_with_the_batch_at_its_next_start(
    site: Site,
) -> None:
    with site.serving():
        taken = site.send("/predict/v1/batch", {"cases": [{"case": f"Case {n}"} for n in range(9)]})
        url = taken.json()["status_url"]
        site.stack.wait(lambda: finished(site, url) >= 1, 20)
    with site.serving():
        site.stack.wait(lambda: site.stack.get(url).json()["status"] == "done", 20)
        kept = site.predictions()
    assert Counter(one["outcome"] for one in kept) == {"answered": 9}


def test_a_prediction_whose_client_left_the_stream_still_gets_its_outcome(
    site: Site,
) -> None:
    with site.serving():
        connection = http.client.HTTPConnection("127.0.0.1", site.stack.port, timeout=20)
        body = json.dumps({"case": "Fever for 3 days.", "tracker": "left"})
        kind = {"Content-Type": "application/json"}
        connection.request("POST", "/predict/v1/stream", body, kind)
        reply = connection.getresponse()
        assert reply.readline() == b"event: accepted\n"
        id = reply.headers["X-Prediction-Id"]
        reply.close()
        connection.close()
        assert site.stack.get(f"/predictions/{id}").status == 404  # not yet
        site.stack.wait(lambda: site.stack.get(f"/predictions/{id}").status == 200, 10)
        again = site.send("/predict/v1", {"case": "Fever for 3 days.", "tracker": "left"})
        assert again.id == id
        assert len(site.asked()) == 1

        # And one that leaves just before the server stops.
        connection = http.client.HTTPConnection("127.0.0.1", site.stack.port, timeout=20)
        connection.request("POST", "/predict/v1/stream", json.dumps({"case": "Last."}), kind)
        last = connection.getresponse()
        last_id = last.headers["X-Prediction-Id"]
        last.close()
        connection.close()
        time.sleep(0.05)
    with site.serving():
        assert site.stack.get(f"/predictions/{last_id}").status == 200
