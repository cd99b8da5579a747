"""Whatever is sent, the server answers in its own words, and its log holds none of the sender's.

Five thousand requests made from the OpenAPI document by schemathesis, and thousands of texts,
headers and idempotency keys of our own, against a real `ddx serve`.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from tests.tracking_server import a_free_port

CASES = 5_000
CANARY = "zebrawood-4402"
STREAM = "/predict/v1/stream"
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "unsupported_method", "use_after_free"),
)
NOT_HERE = ("--exclude-path", "/readyz")
"""Nobody delivers here, and after a minute it says so, with a 503 as it should."""
OWN = {502, 503, 504}
"""Statuses from 500 on that are a recorded failure, or a refusal that says so."""


@dataclass
class Served:
    """A server of this file's own."""

    port: int
    log: Path

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, bytes] | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("fuzz")
    found = Served(a_free_port(), home / "serve.log")
    environment = {**os.environ, "DDX_HOME": str(home), "DDX_PORT": str(found.port)}
    with found.log.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ddx", "serve", "--no-deliverer"],
            env=environment,
            stdout=log,
            stderr=log,
        )
    give_up = time.monotonic() + 120
    while True:
        with suppress(OSError):
            if found.ask("GET", "/readyz")[0] == 200:
                break
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.2)
    yield found
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    words = found.log.read_text()
    assert "Traceback" not in words
    assert "request_fault" not in words
    assert CANARY not in words, "the log holds what a client wrote"


def schemathesis(served: Served, count: int, *options: str) -> int:
    """Run it; return how many requests it made."""
    found = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "run"),
            f"http://127.0.0.1:{served.port}/openapi.json",
            *("--max-examples", str(count), "--no-color", "--request-timeout", "60"),
            *options,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    told = found.stdout
    assert found.returncode == 0, told[-6000:]
    numbers = re.search(r"(\d+) generated", told)
    assert numbers, told[-2000:]
    return int(numbers[1])


def test_five_thousand_requests_of_the_document_meet_no_fault(served: Served) -> None:
    # Of a stream, schemathesis holds each event against the form of the whole body.
    schemas = ",".join((*CHECKS, "response_schema_conformance"))
    made = 0
    while made < CASES:
        made += schemathesis(served, 250, "--checks", schemas, *NOT_HERE, "--exclude-path", STREAM)
        made += schemathesis(served, 100, "--checks", ",".join(CHECKS), "--include-path", STREAM)
    print(f"{made} requests")


TEXT = some.text(max_size=300)
ANY_BYTES = some.binary(max_size=60).map(
    lambda raw: bytes(b for b in raw if b not in (0, 10, 13)).strip()
)
LOTS = settings(
    max_examples=1500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
JSON = {"Content-Type": b"application/json"}


@LOTS
@given(case=TEXT, tracker=TEXT)
def test_any_text_as_case_and_tracker(served: Served, case: str, tracker: str) -> None:
    body = {"case": f"{CANARY} {case}", "tracker": tracker}
    status, reply = served.ask("POST", "/predict/v1", json.dumps(body).encode(), JSON)
    assert status in {200, 422}
    json.loads(reply)


@LOTS
@given(raw=some.binary(max_size=400))
def test_any_bytes_as_body(served: Served, raw: bytes) -> None:
    status, reply = served.ask("POST", "/predict/v1", CANARY.encode() + raw, JSON)
    assert status == 422
    assert CANARY.encode() not in reply


@LOTS
@given(
    key=ANY_BYTES,
    authorization=ANY_BYTES,
    request_id=ANY_BYTES,
    parent=ANY_BYTES,
    kind=some.sampled_from([b"application/json", b"text/plain", b"application/json; charset=x"]),
)
def test_any_bytes_as_headers(
    served: Served, key: bytes, authorization: bytes, request_id: bytes, parent: bytes, kind: bytes
) -> None:
    headers = {
        "Content-Type": kind,
        "Idempotency-Key": CANARY.encode() + key,
        "Authorization": authorization,
        "X-Request-Id": CANARY.encode() + request_id,
        "traceparent": CANARY.encode() + parent,
    }
    body = json.dumps({"case": "Fever for 3 days."}).encode()
    status, reply = served.ask("POST", "/predict/v1", body, headers)
    assert status in {200, 400, 415, 422}
    assert b"Traceback" not in reply


@LOTS
@given(rest=some.text(alphabet=some.characters(codec="ascii", exclude_categories=["Cc", "Zs"])))
def test_any_address(served: Served, rest: str) -> None:
    for room in ("/predictions/", "/dashboard/requests/", "/assets/", "/mlflow/", "/"):
        status, reply = served.ask("GET", f"{room}{CANARY}{rest}")
        assert status < 500 or status in OWN
        assert b"Traceback" not in reply
