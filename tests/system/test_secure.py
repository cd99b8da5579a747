"""`ddx up --secure`: MLflow behind its own login, and its pages behind the server's keys."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.system.stack import Stack
from tests.system.test_mlflow_page import FLAGS
from tests.tracking_server import a_free_port

CHROMIUM = shutil.which("chromium")
pytest.importorskip("flask_wtf", reason="needs the extra `secure`")
API = "/api/2.0/mlflow"
PAGES = "/mlflow/ajax-api/2.0/mlflow"
CASE = {"case": "Fever for 3 days and a petechial rash.", "tracker": "visit-1"}


class Secured:
    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.keys: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        self.asked = False

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

    def mlflow(
        self, path: str, user: str, password: str, body: Any = None, **headers: str
    ) -> tuple[int, bytes]:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        method = "GET" if body is None else "POST"
        return self.ask(
            self.stack.mlflow_port, method, path, body, Authorization=f"Basic {pair}", **headers
        )[:2]

    def password(self, name: str = "password") -> str:
        return (self.stack.home / "ddx_data" / "mlflow_auth" / name).read_text()

    def a_run(self) -> tuple[str, str]:
        """Return the ids of the experiment and of a run of it, as MLflow's admin sees them."""
        by_name = f"{API}/experiments/get-by-name?experiment_name=ddx-server-tracking"

        def search() -> list[Any]:
            found = json.loads(self.mlflow(by_name, "ddx", self.password())[1])
            experiment = found["experiment"]["experiment_id"]
            wanted = {"experiment_ids": [experiment]}
            found = self.mlflow(f"{API}/runs/search", "ddx", self.password(), wanted)[1]
            return [one["info"] for one in json.loads(found).get("runs", [])]

        if not self.asked:
            self.asked = self.server("POST", "/predict/v1", CASE)[0] == 200
        self.stack.wait(lambda: bool(search()), 60)
        return search()[0]["experiment_id"], search()[0]["run_id"]


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
    for role in ("admin", "read", "audit", "predict"):
        code, out = found.ddx("keys", "create", "--role", role, "--json")
        assert code == 0
        found.keys[role] = json.loads(out)["token"]
        found.ids[role] = json.loads(out)["id"]
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
        assert secured.mlflow(search, user, password)[0] == 401
    assert secured.mlflow(search, "ddx", word)[0] == 200
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
    assert secured.server("GET", "/mlflow/", key="predict")[0] == 403
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


@pytest.mark.parametrize(
    "host", ["evil.example", "10.evil.example", "192.168.evil.example:5000", "localhost:1", ""]
)
def test_mlflow_answers_under_its_own_names_alone(secured: Secured, host: str) -> None:
    search = f"{API}/experiments/search?max_results=5"
    port = secured.stack.mlflow_port
    for ours in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"):
        assert secured.mlflow(search, "ddx", secured.password(), Host=ours)[0] == 200
    status, why = secured.mlflow(search, "ddx", secured.password(), Host=host)
    assert (status, why[:19]) == (403, b"Invalid Host header")


def test_a_page_of_another_site_changes_nothing_in_mlflow(secured: Secured) -> None:
    new = {"name": "by another site"}
    for site in ("http://evil.example", "https://evil.example:5000", "null"):
        found = secured.mlflow(
            f"{API}/experiments/create", "ddx", secured.password(), new, Origin=site
        )
        assert found == (403, b"Cross-origin request blocked")
    _, _, headers = secured.ask(secured.stack.mlflow_port, "GET", "/health")
    assert headers["x-frame-options"] == "SAMEORIGIN"


def test_a_reader_looks_at_runs_through_this_server(secured: Secured) -> None:
    experiment, run = secured.a_run()
    for key in ("read", "audit"):
        status, page, _ = secured.server("GET", "/mlflow/", key=key)
        assert (status, b"MLflow" in page) == (200, True)
        status, found, _ = secured.server("GET", f"{PAGES}/runs/get?run_id={run}", key=key)
        assert (status, json.loads(found)["run"]["info"]["run_id"]) == (200, run)
        wanted = {"experiment_ids": [experiment]}
        status, found, _ = secured.server("POST", f"{PAGES}/runs/search", wanted, key=key)
        assert (status, run in found.decode()) == (200, True)
    dashboard = secured.server("GET", "/dashboard", key="read")[1]
    assert b'href="/mlflow/"' in dashboard
    id = json.loads(secured.server("GET", "/predictions", key="read")[1])["predictions"][0]
    to = secured.server("GET", f"/dashboard/requests/{id['prediction_id']}/mlflow", key="read")[2]
    assert to["location"] == f"/mlflow/#/experiments/{experiment}/runs/{run}"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("runs/set-tag", {"key": "note", "value": "changed"}),
        ("runs/delete", {}),
        ("runs/log-metric", {"key": "success", "value": 0, "timestamp": 1}),
        ("runs/update", {"status": "FAILED"}),
    ],
)
def test_a_reader_changes_no_run_by_any_way(
    secured: Secured, path: str, body: dict[str, Any]
) -> None:
    _, run = secured.a_run()
    change = {"run_id": run, **body}
    assert secured.server("POST", f"{PAGES}/{path}", change, key="read")[0] == 403
    assert secured.server("POST", f"/mlflow{API}/{path}", change, key="read")[0] == 403
    # MLflow itself refuses it, too, whatever the door in front lets through.
    word = secured.password("reader-password")
    assert secured.mlflow(f"{API}/{path}", "ddx-reader", word, change)[0] == 403
    assert secured.mlflow(f"{API}/runs/get?run_id={run}", "ddx-reader", word)[0] == 200
    found = json.loads(
        secured.mlflow(f"{API}/runs/get?run_id={run}", "ddx", secured.password())[1]
    )["run"]
    assert (found["info"]["status"], found["info"]["lifecycle_stage"]) == ("FINISHED", "active")
    assert "note" not in {tag["key"] for tag in found["data"]["tags"]}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{PAGES}/experiments/create"),
        ("POST", f"{PAGES}/registered-models/create"),
        ("POST", f"{PAGES}/runs/search/../delete"),
        ("POST", f"{PAGES}/runs/%64elete"),
        ("PATCH", f"{PAGES}/users/update-password"),
        ("PATCH", f"{PAGES}/registered-models/update"),
        ("DELETE", f"{PAGES}/users/delete"),
        ("PUT", "/mlflow/ajax-api/2.0/mlflow-artifacts/artifacts/x"),
    ],
)
def test_a_reader_makes_nothing_of_his_own(secured: Secured, method: str, path: str) -> None:
    assert secured.server(method, path, {"name": "mine"}, key="read")[0] == 403


def test_a_reader_sees_no_other_experiment(secured: Secured) -> None:
    secured.a_run()
    new = {"name": "of somebody else"}
    found = secured.mlflow(f"{API}/experiments/create", "ddx", secured.password(), new)[1]
    other = json.loads(found)["experiment_id"]
    one = f"{PAGES}/experiments/get?experiment_id={other}"
    assert secured.server("GET", one)[0] == 200
    assert secured.server("GET", one, key="read")[0] == 403
    _, found, _ = secured.server(
        "POST", f"{PAGES}/experiments/search", {"max_results": 9}, key="read"
    )
    assert [one["name"] for one in json.loads(found)["experiments"]] == ["ddx-server-tracking"]


def test_a_readers_look_is_in_the_trail(secured: Secured) -> None:
    _, run = secured.a_run()
    path = f"{PAGES}/artifacts/list"
    assert secured.server("GET", f"{path}?run_id={run}", key="read")[0] == 200
    assert secured.server("POST", f"{PAGES}/runs/delete", {}, key="read")[0] == 403
    own, listed = json.loads(secured.server("GET", "/audit", key="audit")[1])["looks"][:2]
    # Between the two there is nothing: what was refused was no look.
    assert (own["act"], listed["act"], listed["about"]) == (
        "audit",
        "mlflow",
        "/ajax-api/2.0/mlflow/artifacts/list",
    )
    assert listed["caller"] == secured.ids["read"]


def test_mlflow_runs_no_jobs_no_gateway_no_telemetry_and_no_agents(secured: Secured) -> None:
    pid = secured.stack.pid("MLflow")
    assert Path(f"/proc/{pid}/task/{pid}/children").read_text() == ""
    info = secured.mlflow("/api/3.0/mlflow/server-info", "ddx", secured.password())[1]
    assert json.loads(info)["features_enabled"] == {"gateway": False}
    told = secured.mlflow("/ajax-api/3.0/mlflow/ui-telemetry", "ddx", secured.password())[1]
    assert json.loads(told)["disable_ui_telemetry"] is True
    for path in ("/gateway/mlflow/v1/chat/completions", "/gateway/x/mlflow/invocations"):
        found = secured.mlflow(path, "ddx", secured.password(), {"model": "x"})
        assert (found[0], b"disabled" in found[1]) == (501, True)
    for path in ("assistant/config", "assistant/sessions/x/stream"):
        found = secured.mlflow(f"/ajax-api/3.0/mlflow/{path}", "ddx", secured.password())
        assert found[0] == 404
    message = {"message": "Hello"}
    talk = "/ajax-api/3.0/mlflow/assistant/message"
    assert secured.mlflow(talk, "ddx", secured.password(), message)[0] in (404, 405)
    for path in (talk, talk.replace("assistant", "%61ssistant")):
        assert secured.server("POST", f"/mlflow{path}", message)[0] == 403


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_mlflows_pages_work_for_a_reader_in_a_browser(secured: Secured) -> None:
    from playwright.sync_api import Response, sync_playwright

    experiment, run = secured.a_run()
    refused: list[Response] = []

    def note(answer: Response) -> None:
        if answer.status >= 400:
            refused.append(answer)

    with sync_playwright() as library:
        browser = library.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(
            viewport={"width": 1500, "height": 900},
            http_credentials={"username": "reader", "password": secured.keys["read"]},
        )
        page.on("response", note)
        place = f"http://127.0.0.1:{secured.stack.port}/mlflow/#/experiments/{experiment}"
        for path, text in (
            ("/runs", "ddx-server-tracking"),
            (f"/runs/{run}", "llm_temperature"),
            (f"/runs/{run}/artifacts", "final_response.txt"),
        ):
            page.goto(f"{place}{path}")
            page.get_by_text(text).first.wait_for(timeout=60_000)
            page.wait_for_timeout(1500)
        with page.expect_response(lambda found: "get-artifact" in found.url) as shown:
            page.get_by_text("final_response.txt").first.click()
        assert shown.value.status == 200
        missed = [one for one in refused if "/mlflow/assistant/" not in one.url]
        said = [(one.status, one.url, one.text()) for one in missed]
        browser.close()
    # The assistant, which is not passed on, is all that the pages miss.
    assert said == []


def test_where_a_second_tenant_comes_readers_see_mlflows_pages_no_more(secured: Secured) -> None:
    assert secured.server("GET", "/mlflow/", key="read")[0] == 200
    assert secured.ddx("keys", "create", "--role", "predict", "--tenant", "south")[0] == 0
    status, why, _ = secured.server("GET", "/mlflow/", key="read")
    assert (status, b"the runs of all tenants" in why) == (403, True)
    assert b'href="/mlflow/"' not in secured.server("GET", "/dashboard", key="read")[1]
    assert secured.server("GET", "/mlflow/")[0] == 200


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
