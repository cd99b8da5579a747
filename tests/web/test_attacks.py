"""What somebody would try who means harm. The rest of the list stands by its name in test_door.py
(keys, roles, tenants, timing) and tests/deploy/test_addresses.py (addresses that a request names).
"""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import uvicorn
from starlette.testclient import TestClient
from tests.system.stack import free_port
from tests.web.conftest import ENVIRONMENT

from ddx import settings
from ddx.adapters import mlflow_login
from ddx.core import report_text
from ddx.web.api import create_app
from ddx.web.state import Server

CASE = {"case": "Fever for 3 days and a petechial rash."}
IMPATIENT = ENVIRONMENT | {"DDX_BODY_TIMEOUT_S": "1"}
SCRIPT = "<script>alert(1)</script>"
CLIMBING = (
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "....//....//etc/passwd",
    "..\\..\\etc\\passwd",
    "/etc/passwd",
    "%00",
    "01a20801-e9ca-787c-862e-5df01cce0ac4/../../../etc/passwd",
    "~root",
    "file:///etc/passwd",
)


@pytest.mark.parametrize("name", CLIMBING)
@pytest.mark.parametrize(
    "path",
    [
        "/predictions/{}",
        "/predictions/{}/feedback",
        "/predict/v1/batch/{}",
        "/predict/v1/batch/{}/results",
        "/dashboard/{}",
        "/dashboard/request/{}",
        "/static/{}",
        "/docs/{}",
        "/mlflow/{}",
        "/{}",
    ],
)
def test_no_name_climbs_out_of_its_folder(client: TestClient, path: str, name: str) -> None:
    for asked in (path.format(name), path.format(quote(name, safe=""))):
        for method in ("GET", "POST"):
            found = client.request(method, asked, follow_redirects=False)
            assert found.status_code in range(400, 500) or found.status_code == 503, asked
            assert "root:" not in found.text


@pytest.mark.parametrize("depth", [1_000, 200_000])
@pytest.mark.parametrize("shape", ['{"a":', "["])
@pytest.mark.parametrize("path", ["/predict/v1", "/predict/v1/stream", "/predict/v1/batch"])
def test_a_deeply_nested_body_is_refused_and_ends_nothing(
    client: TestClient, path: str, shape: str, depth: int
) -> None:
    end = {"[": "]", '{"a":': "}"}[shape]
    for body in (
        shape * depth + end * depth,
        f'{{"case": {shape * depth}1{end * depth}}}',
        f'{{"case": "x", "phenopacket": {shape * depth}1{end * depth}}}',
    ):
        found = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert 400 <= found.status_code < 500, found.status_code
    assert client.post("/predict/v1", json=CASE).status_code == 200


@pytest.mark.parametrize(
    "raw", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "-0", "1e-999"]
)
def test_a_number_of_no_measure_is_a_422(client: TestClient, raw: str) -> None:
    for name in ("temperature", "max_tokens", "top_k", "prompt_version"):
        body = f'{{"case": "Fever for 3 days.", "{name}": {raw}}}'
        found = client.post(
            "/predict/v1", content=body, headers={"Content-Type": "application/json"}
        )
        assert found.status_code in (200, 404, 422), (name, found.status_code)
        assert b"NaN" not in found.content


def test_no_header_is_made_of_what_a_client_says(client: TestClient) -> None:
    evil = "x\r\nSet-Cookie: a=b"
    for body in (CASE | {"tracker": evil}, CASE | {"model_name": evil}, {"case": evil}):
        found = client.post("/predict/v1", json=body)
        assert "set-cookie" not in found.headers
    for path in (f"/predictions/{quote(evil)}", f"/{quote(evil)}", f"/?case={quote(evil)}"):
        found = client.get(path, headers={"X-Request-Id": "a b\tc" * 100})
        assert "set-cookie" not in found.headers
        assert len(found.headers.get("x-request-id", "")) < 200


def test_markup_in_a_case_or_a_name_is_shown_and_never_run(client: TestClient) -> None:
    body = {"case": f"{SCRIPT} <img src=x onerror=alert(1)> fever", "tracker": f'"><{SCRIPT}'}
    told = client.post("/predict/v1", json=body)
    assert told.headers["content-type"].startswith("application/json")
    assert told.headers["x-content-type-options"] == "nosniff"
    id = told.json()["prediction_id"]
    said = {"outcome": "overridden", "true_diagnosis": SCRIPT, "comment": SCRIPT}
    assert client.post(f"/predictions/{id}/feedback", json=said).status_code < 300
    shown = [client.post("/", data={"case": body["case"]}), client.get("/")]
    shown += [client.get(f"/dashboard?model={quote(SCRIPT)}&since={quote(SCRIPT)}")]
    shown += [client.get(path) for path in (f"/{SCRIPT}", f"/predictions/{SCRIPT}")]
    for page in shown:
        assert SCRIPT not in page.text
        assert "<img src=x" not in page.text
        if page.headers["content-type"].startswith("text/html"):
            assert "script-src" in page.headers["content-security-policy"] or (
                "default-src 'none'" in page.headers["content-security-policy"]
            )


def test_no_redirect_leads_to_another_site(client: TestClient) -> None:
    for path in (
        "//evil.example/",
        "/%2f%2fevil.example/",
        "/\\evil.example",
        "/dashboard/?next=https://evil.example",
        "/?next=//evil.example&return_to=//evil.example",
        "/mlflow//evil.example/",
        "/predictions//evil.example/..",
    ):
        for method in ("GET", "POST"):
            found = client.request(
                method, path, headers={"Host": "testserver"}, follow_redirects=False
            )
            target = found.headers.get("location", "")
            assert not re.match(r"(https?:)?[/\\]{2}(?!testserver)", target), (path, target)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_report_opened_in_a_spreadsheet_calculates_nothing(start: str) -> None:
    said = f"{start}cmd|' /C calc'!A0"
    assert report_text._safe(said) == f"'{said}"


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[int]:
    server, port = Server(settings.load(IMPATIENT, home=tmp_path)), free_port()
    running = uvicorn.Server(
        uvicorn.Config(create_app(server), host="127.0.0.1", port=port, log_config=None)
    )
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        time.sleep(0.02)
    yield port
    running.should_exit = True
    thread.join()


def test_a_body_that_drips_in_is_ended_and_others_are_served(listening: int) -> None:
    slow = [socket.create_connection(("127.0.0.1", listening), timeout=40) for _ in range(50)]
    head = (
        b"POST /predict/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b'Content-Length: 10000\r\n\r\n{"case'
    )
    for one in slow:
        one.sendall(head)
    with socket.create_connection(("127.0.0.1", listening), timeout=5) as quick:
        body = json.dumps(CASE).encode()
        quick.sendall(
            b"POST /predict/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        assert quick.recv(100).startswith(b"HTTP/1.1 200")
    assert slow[0].recv(100).startswith(b"HTTP/1.1 408")
    for one in slow:
        one.close()


def test_no_file_of_the_data_is_anybody_elses_to_read(tmp_path: Path) -> None:
    environment = {**os.environ, "DDX_HOME": str(tmp_path), "DDX_BENCH_MODELS": "1"}
    for words in (
        ("predict", "Fever for 3 days.", "--model", "instant"),
        ("keys", "create", "--role", "read"),
    ):
        subprocess.run(
            [sys.executable, "-m", "ddx", *words],
            env=environment,
            check=True,
            capture_output=True,
            umask=0,  # what the machine is set to must not matter
        )
    found = list((tmp_path / "ddx_data").rglob("*"))
    assert len(found) > 4
    open_ = [one.name for one in found if stat.S_IMODE(one.stat().st_mode) & 0o077]
    assert open_ == []


def test_there_is_no_default_password(tmp_path: Path) -> None:
    pytest.importorskip("flask_wtf", reason="needs the extra `secure`")
    made = [mlflow_login.environment(tmp_path / name) for name in ("one", "two")]
    passwords = {one["MLFLOW_AUTH_ADMIN_PASSWORD"] for one in made}
    assert len(passwords) == 2
    assert all(len(one) > 30 for one in passwords)
    assert "permission = NO_PERMISSIONS" in (tmp_path / "one" / "auth.ini").read_text()
