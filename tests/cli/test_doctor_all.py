"""`ddx doctor --all`: certificates, doors, the artifact store, the clock, backups."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.oidc_issuer import an_issuer
from tests.web.conftest import ENVIRONMENT
from tests.wiring.test_ledger_copy import bucket  # noqa: F401  (a fixture)

from ddx import settings
from ddx.adapters import last_good
from ddx.adapters.system import SystemClock
from ddx.cli import run
from ddx.services import doctor_all


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {**ENVIRONMENT, "DDX_HOME": str(tmp_path), "DDX_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DDX_MLFLOW_PORT", "2")
    return tmp_path


def doctor(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    run(["doctor", "--all", "--json"])
    return {one["name"]: one for one in json.loads(capsys.readouterr().out)["checks"]}


def test_a_backup_that_was_never_made_and_one_that_was(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", "Fever for 3 days.", "--model", "instant"]) == 0
    capsys.readouterr()
    found = doctor(capsys)["backups"]
    assert (found["ok"], found["found"]) == (False, "last good backup never, last good drill never")
    (home / "kept").mkdir()
    archive = str(home / "kept" / "one.tar")
    assert run(["backup", archive]) == 0
    assert run(["restore", archive, "--drill"]) == 0
    capsys.readouterr()
    assert doctor(capsys)["backups"]["ok"]
    later = datetime.now(UTC) + timedelta(days=3)
    good = last_good.read(settings.load().data)
    assert not doctor_all.backups(good, later).ok
    assert not (home / "ddx_data" / "last_good.json.new").exists()


def test_a_certificate_that_ends_soon_is_not_ok(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DDX_TLS_CERT_FILE", "cert.pem")
    monkeypatch.setenv("DDX_TLS_KEY_FILE", "key.pem")
    for days, ok in ((5, False), (60, True)):
        ends = datetime.now(UTC) + timedelta(days=days, hours=1)
        made = trustme.CA().issue_cert("localhost", not_after=ends)
        made.cert_chain_pems[0].write_to_path(home / "cert.pem")
        made.private_key_pem.write_to_path(home / "key.pem")
        found = doctor(capsys)["certificate"]
        assert (found["ok"], found["detail"]["days_left"]) == (ok, days)


@pytest.fixture
def open_door() -> Iterator[int]:
    """A server that lets everyone in."""

    class Open(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Open)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_a_door_that_should_be_closed_is_tried_without_a_key(
    home: Path,
    open_door: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert home.exists()
    assert doctor(capsys)["server's door"]["found"] == "not running, so nobody was let in"
    monkeypatch.setenv("DDX_PORT", str(open_door))
    assert doctor(capsys)["server's door"]["ok"], "no key was made: it is meant to be open"
    monkeypatch.setenv("DDX_REQUIRE_API_KEYS", "1")
    found = doctor(capsys)["server's door"]
    assert not found["ok"]
    assert "/predictions" in found["found"]


def test_an_mlflow_that_lost_its_login_is_told(
    home: Path,
    open_door: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DDX_MLFLOW_PORT", str(open_door))
    assert doctor(capsys)["MLflow's door"]["found"].startswith("open, on this machine only: /")
    login = home / "ddx_data" / "mlflow_auth"
    login.mkdir(parents=True)
    (login / "password").write_text("made at a start with --secure")
    found = doctor(capsys)["MLflow's door"]
    assert not found["ok"]
    assert "mlflow_secure = true" in found["advice"]


def test_an_issuer_of_tokens_is_asked_for_its_keys(
    home: Path,
    open_door: int,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert home.exists()
    assert "issuer of tokens" not in doctor(capsys)
    with an_issuer(tmp_path_factory.mktemp("issuer")) as issuer:
        for name, value in {
            "ISSUER": issuer.url,
            "CA_FILE": str(issuer.ca_file),
            "AUDIENCE": "ddx",
            "ROLES_CLAIM": "roles",
        }.items():
            monkeypatch.setenv(f"DDX_OIDC_{name}", value)
        found = doctor(capsys)["issuer of tokens"]
        assert (found["ok"], found["found"]) == (
            True,
            f"{issuer.url}: its keys were fetched, 2 of them",
        )
        issuer.away = True
        found = doctor(capsys)["issuer of tokens"]
        assert not found["ok"]
        assert "does not answer" in found["found"]
    monkeypatch.setenv("DDX_PORT", str(open_door))
    assert not doctor(capsys)["server's door"]["ok"], "with an issuer it is meant to be closed"


def test_a_clock_that_was_put_back_is_found(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert home.exists()
    assert run(["predict", "Fever for 3 days.", "--model", "instant"]) == 0
    capsys.readouterr()
    assert doctor(capsys)["clock"]["ok"]
    back = datetime.now(UTC) - timedelta(hours=1)
    monkeypatch.setattr(SystemClock, "now", lambda _: back)
    assert "before the newest record" in doctor(capsys)["clock"]["found"]


@pytest.mark.parametrize("right", [True, False])
def test_the_artifact_store_is_written_read_and_left_empty(
    home: Path,
    bucket: tuple[str, Path],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    right: bool,
) -> None:
    uri, folder = bucket
    (home / "mlflow_server_config.py").write_text(f"artifacts_path = '{uri}'\n")
    if not right:
        monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    found = doctor(capsys)["artifact store"]
    assert found["ok"] == right, found
    assert list(folder.rglob("*.txt")) == []


def test_a_log_that_cannot_begin_anew_is_found() -> None:
    assert doctor_all.logs({"journal.db-wal": 4 * 2**20}).ok
    assert not doctor_all.logs({"journal.db-wal": 300 * 2**20}).ok
