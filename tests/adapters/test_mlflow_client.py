"""The client door before a server that misbehaves."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from tests.make import finished
from tests.tracking_server import a_free_port

from ddx.adapters.mlflow_runs import ClientRuns, experiment
from ddx.core.run_draft import EXPERIMENT, draft
from ddx.errors import AnswerLost, DeliveryRefused, TrackerUnavailable

pytest.importorskip("mlflow", reason="needs the extra `tracking`")
EXPERIMENT_ANSWER = {
    "experiment": {"experiment_id": "1", "name": EXPERIMENT, "lifecycle_stage": "active"}
}


class Misbehaving(ThreadingHTTPServer):
    """Knows the experiment; answers a create as a test says."""

    answer: tuple[int, bytes] | str = (200, b"{}")
    creates = 0


class Handler(BaseHTTPRequestHandler):
    server: Misbehaving

    def do_GET(self) -> None:
        self._send(200, json.dumps(EXPERIMENT_ANSWER).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.creates += 1
        match self.server.answer:
            case "cut":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
                self.connection.shutdown(socket.SHUT_RDWR)
            case "silent":
                time.sleep(3)
            case (status, body):
                self._send(status, body)

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    made = Misbehaving(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def runs(server: Misbehaving, monkeypatch: pytest.MonkeyPatch) -> ClientRuns:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    return ClientRuns(f"http://127.0.0.1:{server.server_port}", None, "somebody")


def an_error(code: str) -> bytes:
    return json.dumps({"error_code": code, "message": "quotes the case"}).encode()


@pytest.mark.parametrize(
    "answer",
    [
        "cut",
        "silent",
        (200, b"{"),
        (500, b"Internal Server Error"),
        (502, b"<html>Bad gateway</html>"),
        (503, an_error("TEMPORARILY_UNAVAILABLE")),
        (400, an_error("BAD_REQUEST")),
        (400, b"Bad Request"),
    ],
    ids=str,
)
def test_an_answer_that_says_nothing_leaves_a_create_in_doubt_and_is_not_repeated(
    server: Misbehaving, runs: ClientRuns, answer: tuple[int, bytes] | str
) -> None:
    server.answer = answer
    with pytest.raises(AnswerLost) as raised:
        runs.open(draft(finished()))
    assert server.creates == 1
    assert "case" not in str(raised.value)


@pytest.mark.parametrize(
    "answer",
    [
        (401, b"You are not authenticated"),
        (403, an_error("PERMISSION_DENIED")),
        (404, b"Not Found"),
        (429, an_error("REQUEST_LIMIT_EXCEEDED")),
        (429, b"<html>Too many requests</html>"),
    ],
    ids=str,
)
def test_a_server_that_does_not_let_us_in_has_created_nothing(
    server: Misbehaving, runs: ClientRuns, answer: tuple[int, bytes]
) -> None:
    server.answer = answer
    with pytest.raises(TrackerUnavailable) as raised:
        runs.open(draft(finished()))
    assert not isinstance(raised.value, AnswerLost)
    assert server.creates == 1


def test_a_value_that_mlflow_finds_invalid_is_refused(
    server: Misbehaving, runs: ClientRuns
) -> None:
    server.answer = (400, an_error("INVALID_PARAMETER_VALUE"))
    with pytest.raises(DeliveryRefused) as raised:
        runs.open(draft(finished()))
    assert "case" not in str(raised.value)


class Experiments:
    """MLflow's experiments, while somebody else creates some too."""

    def __init__(self, taken_meanwhile: int) -> None:
        self.names = {0: "Default"}
        self.locations = {0: "/"}
        self.deleted: set[int] = set()
        self.taken_meanwhile = taken_meanwhile

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def search_experiments(self, *_: object, **__: object) -> list[SimpleNamespace]:
        return [SimpleNamespace(experiment_id=str(max(self.names)))]

    def create_experiment(self, name: str, artifact_location: str = "") -> str:
        assert name not in self.names.values()
        if self.taken_meanwhile:
            self.taken_meanwhile -= 1
            self.names[len(self.names)] = f"another {len(self.names)}"
        id = len(self.names)
        self.names[id], self.locations[id] = name, artifact_location
        return str(id)

    def rename_experiment(self, id: str, name: str) -> None:
        self.names[int(id)] = name

    def delete_experiment(self, id: str) -> None:
        self.deleted.add(int(id))


@pytest.mark.parametrize("taken_meanwhile", [0, 1, 2])
def test_the_experiments_files_are_in_a_folder_of_its_own_id(taken_meanwhile: int) -> None:
    client = Experiments(taken_meanwhile)
    found = experiment.ensure(client, "/data/artifacts")
    assert client.names[int(found.id)] == EXPERIMENT
    assert client.locations[int(found.id)] == f"/data/artifacts/{found.id}"
    misplaced = {id for id, name in client.names.items() if "misplaced" in name}
    assert client.deleted == misplaced


def test_a_server_that_is_not_there_is_noticed_at_once() -> None:
    runs = ClientRuns(f"http://127.0.0.1:{a_free_port()}", None, "somebody")
    started_s = time.monotonic()
    with pytest.raises(TrackerUnavailable) as raised:
        runs.look_for([finished().id])
    assert not isinstance(raised.value, AnswerLost)
    assert time.monotonic() - started_s < 20
