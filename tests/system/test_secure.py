"""`ddx up --secure`: MLflow behind its own login, and its pages behind the server's keys."""

from __future__ import annotations

import base64
import http.client
import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.system.stack import Stack
from tests.tracking_server import a_free_port

pytest.importorskip("flask_wtf", reason="needs the extra `secure`")
CASE = {"case": "Fever for 3 days and a petechial rash.", "tracker": "visit-1"}


class Secured:
    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.keys: dict[str, str] = {}

    def ddx(self, *words: str) -> tuple[int, str]:
        found = subprocess.run(
            [sys.executable, "-m", "ddx", *words],
            env=self.stack.environment | {"DDX_HOME": str(self.stack.home)},
            capture_output=True,
            text=True,
            check=False,
        )
        return found.returncode, found.stdout

    def ask(
        self, port: int, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        more = {"Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        with closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body), more)
            answer = connection.getresponse()
            return (
                answer.status,
                answer.read(),
                {name.lower(): value for name, value in answer.getheaders()},
            )

    def server(self, method: str, path: str, body: Any = None, key: str = "admin") -> Any:
        return self.ask(
            self.stack.port, method, path, body, Authorization=f"Bearer {self.keys[key]}"
        )

    def mlflow(self, path: str, user: str, password: str) -> int:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        return self.ask(self.stack.mlflow_port, "GET", path, Authorization=f"Basic {pair}")[0]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    import os

    home = tmp_path_factory.mktemp("secured")
    stack = Stack(home, a_free_port(), a_free_port(), dict(os.environ))
    (home / "ddx.toml").write_text(
        f"mlflow_secure = true\nport = {stack.port}\nmlflow_port = {stack.mlflow_port}\n"
        "bench_models = true\ndefault_model = 'instant'\n"
    )
    found = Secured(stack)
    for role in ("admin", "read"):
        code, out = found.ddx("keys", "create", "--role", role, "--json")
        assert code == 0
        found.keys[role] = json.loads(out)["token"]
    stack.start(180)
    yield found
    stack.stop()


def test_mlflow_lets_in_only_who_knows_the_password_that_was_made(secured: Secured) -> None:
    folder = secured.stack.home / "ddx_data" / "mlflow_auth"
    word = (folder / "password").read_text()
    port = secured.stack.mlflow_port
    assert secured.ask(port, "GET", "/")[0] == 401
    search = "/api/2.0/mlflow/experiments/search?max_results=5"
    assert secured.ask(port, "GET", search)[0] == 401
    new = {"username": "eve", "password": "a long password"}
    assert secured.ask(port, "POST", "/api/2.0/mlflow/users/create", new)[0] == 401
    for user, password in (("admin", "password1234"), ("admin", "password"), ("ddx", "")):
        assert secured.mlflow(search, user, password) == 401
    assert secured.mlflow(search, "ddx", word) == 200
    open_files = [one.name for one in folder.iterdir() if stat.S_IMODE(one.stat().st_mode) & 0o077]
    assert open_files == []


def test_runs_arrive_and_every_command_comes_in_by_itself(secured: Secured) -> None:
    status, body, _ = secured.server("POST", "/predict/v1", CASE)
    assert status == 200
    id = json.loads(body)["prediction_id"]

    def delivered() -> bool:
        return bool(secured.server("GET", f"/dashboard/requests/{id}/mlflow")[0] == 303)

    secured.stack.wait(delivered, 60)
    for words in (("verify",), ("ledger", "verify")):
        assert secured.ddx(*words)[0] == 0, words
    to = secured.server("GET", f"/dashboard/requests/{id}/mlflow")[2]["location"]
    assert to.startswith("/mlflow/#/experiments/")


def test_mlflows_pages_are_behind_an_admins_key(secured: Secured) -> None:
    assert secured.ask(secured.stack.port, "GET", "/mlflow/")[0] == 401
    assert secured.server("GET", "/mlflow/", key="read")[0] == 403
    status, page, headers = secured.server("GET", "/mlflow/")
    assert (status, headers["cache-control"]) == (200, "no-store")
    assert b"MLflow" in page
    script = page.partition(b'src="')[2].partition(b'"')[0].decode()
    status, code, headers = secured.server("GET", f"/mlflow/{script}")
    assert (status, int(headers["content-length"])) == (200, len(code))
    status, found, _ = secured.server(
        "POST", "/mlflow/ajax-api/2.0/mlflow/experiments/search", {"max_results": 9}
    )
    assert status == 200
    assert "ddx-server-tracking" in {one["name"] for one in json.loads(found)["experiments"]}


@pytest.mark.parametrize(
    "path",
    [
        "/mlflow//example.org/",
        "/mlflow/http://example.org/",
        "/mlflow/../predictions",
        "/mlflow/%2e%2e/%2e%2e/etc/passwd",
        "/mlflow/@example.org/",
    ],
)
def test_the_way_to_mlflow_leads_nowhere_else(secured: Secured, path: str) -> None:
    status, body, _ = secured.server("GET", path)
    assert status in (200, 404, 400, 405)
    assert b"Example Domain" not in body
    assert b"root:" not in body
    assert b"prediction_id" not in body


def test_mlflow_is_not_exposed_without_a_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ddx.cli import run
    from ddx.cli.exits import EXIT_CODE

    monkeypatch.setenv("DDX_HOME", str(tmp_path))
    monkeypatch.setenv("DDX_MLFLOW_HOST", "0.0.0.0")
    assert run(["up"]) == EXIT_CODE["unsafe_address"]
    assert "/mlflow/" in capsys.readouterr().err


def test_an_mlflow_with_known_holes_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ddx.cli import run
    from ddx.cli.exits import EXIT_CODE

    monkeypatch.setenv("DDX_HOME", str(tmp_path))
    monkeypatch.setattr("ddx.wiring.launch.version", lambda _name: "3.9.0")
    assert run(["up"]) == EXIT_CODE["missing_extra"]
    assert "known vulnerabilities" in capsys.readouterr().err
