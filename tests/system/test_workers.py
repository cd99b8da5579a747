"""Two real workers on one port: one server to whoever asks."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.ends import gone
from tests.system.middleware import Middleware
from tests.system.stack import Reply, Stack, check, free_port, running

from ddx.adapters.sqlite_journal import SqliteJournalReader, find_journals
from ddx.core.chain import Kind

pytestmark = pytest.mark.xdist_group("workers")
MODELS = """
[models.slow]
engine = "instant"
wait_ms = 700

[models.slower]
engine = "instant"
wait_ms = 4000
"""
ENVIRONMENT = {"DDX_WORKERS": "2", "DDX_BENCH_MODELS": "1", "DDX_DEFAULT_MODEL": "instant"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("home")
    (home / "ddx.toml").write_text(MODELS)
    with running(home, **ENVIRONMENT) as stack:
        yield stack


class Alone:
    """`ddx serve` with its workers, and nothing beside it."""

    def __init__(self, home: Path, **environment: str) -> None:
        (home / "ddx.toml").write_text(MODELS)
        self.stack = Stack(home, free_port(), free_port())
        self.environment = {
            **os.environ,
            **ENVIRONMENT,
            "DDX_HOME": str(home),
            "DDX_PORT": str(self.stack.port),
            **environment,
        }

    def start(self) -> subprocess.Popen[bytes]:
        with (self.stack.home / "up.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "ddx", "serve", "--no-deliverer"],
                env=self.environment,
                cwd=self.stack.home,
                stdout=log,
                stderr=log,
            )

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        parent = self.start()
        try:
            self.stack.wait(lambda: self.stack.get("/readyz").status == 200, 60)
            yield parent
        finally:
            parent.send_signal(signal.SIGTERM)
            parent.wait(60)


def workers_of(parent: int) -> list[int]:
    """The workers of a server, by their parent."""
    found = []
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with suppress(OSError):
            if "--team" in Path(f"/proc/{child}/cmdline").read_text().split("\0"):
                found.append(int(child))
    return found


def kept(home: Path) -> dict[str, int]:
    """How many predictions each journal has accepted."""
    found = {}
    for instance in find_journals(home / "ddx_data"):
        with closing(SqliteJournalReader(home / "ddx_data", instance)) as reader:
            events = reader.events(0, 100_000)
            found[instance] = sum(event.kind is Kind.ACCEPTED for event in events)
    return found


def at_once(times: int, do: Callable[[int], Reply]) -> list[Reply]:
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(do, range(times)))


def counted(stack: Stack, name: str) -> float:
    """The sum of a counter's series, as one worker tells it."""
    text = stack.get("/metrics").body.decode()
    return sum(float(value) for value in re.findall(rf"(?m)^{name}(?:{{.*}})? (\S+)$", text))


def send(stack: Stack, path: str, **body: Any) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=20)
    with closing(connection):
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, answer.read(), headers)


def test_both_workers_take_requests(stack: Stack) -> None:
    before = kept(stack.home)
    told = at_once(40, lambda n: stack.post(case=f"Case {n}"))
    assert [reply.status for reply in told] == [200] * 40
    after = kept(stack.home)
    assert set(after) == {"main", "main-2"}
    assert all(after[name] > before.get(name, 0) for name in after)
    stack.wait(lambda: not check(stack, told, stack.runs()), 60)


def test_a_hundred_with_one_tracker_are_one_answer_and_one_run(stack: Stack) -> None:
    before = sum(kept(stack.home).values())
    told = at_once(
        100, lambda _: stack.post(case="Fever.", model_name="slow", tracker="one for all")
    )
    assert [reply.status for reply in told] == [200] * 100
    assert len({reply.body for reply in told}) == 1
    assert sum(kept(stack.home).values()) == before + 1
    # Later, too, whoever is asked; and another body is refused, whoever is asked.
    later = [stack.post(case="Fever.", model_name="slow", tracker="one for all") for _ in range(20)]
    assert {reply.body for reply in later} == {told[0].body}
    others = [
        stack.post(case="Cough.", model_name="slow", tracker="one for all") for _ in range(20)
    ]
    assert {reply.status for reply in others} == {422}
    stack.wait(lambda: not check(stack, told, stack.runs()), 60)
    runs = [run for run in stack.runs() if run.data.tags.get("ddx.tracker") == "one for all"]
    assert len(runs) == 1


def test_any_worker_shows_what_every_worker_keeps(stack: Stack) -> None:
    told = at_once(12, lambda n: stack.post(case=f"Seen {n}"))
    ids = {reply.id for reply in told}
    for _ in range(8):
        page = stack.get("/predictions?limit=100").json()["predictions"]
        assert ids <= {one["prediction_id"] for one in page}
        assert [one["prediction_id"] for one in page] == sorted(
            (one["prediction_id"] for one in page), reverse=True
        )
        assert all(stack.get(f"/predictions/{one.id}").body == one.body for one in told)


def test_feedback_is_taken_by_any_worker_and_delivered_once(stack: Stack) -> None:
    told = at_once(8, lambda n: stack.post(case=f"Judged {n}"))
    for number in range(3):
        for reply in told:
            said = send(
                stack,
                f"/predictions/{reply.id}/feedback",
                true_diagnosis="Malaria",
                comment=str(number),
            )
            assert said.status == 200, said.body
            assert len(said.json()["feedback"]) == number + 1
    for reply in told:
        found = stack.get(f"/predictions/{reply.id}").json()["feedback"]
        assert [one["comment"] for one in found] == ["0", "1", "2"]
    unknown = send(stack, "/predictions/019b0000-0000-7000-8000-000000000000/feedback", comment="x")
    assert unknown.status == 404

    def judged() -> bool:
        runs = {run.data.tags["ddx.prediction_id"]: run for run in stack.runs()}
        return all(
            runs[reply.id].data.tags.get("ddx.true_diagnosis") == "Malaria" for reply in told
        )

    stack.wait(judged, 60)
    # Each word is one event of the journal that holds its record.
    words = 0
    for instance in find_journals(stack.home / "ddx_data"):
        with closing(SqliteJournalReader(stack.home / "ddx_data", instance)) as reader:
            for reply in told:
                if reader.find(reply.id) is not None:  # type: ignore[arg-type]
                    words += len(reader.feedback_of(reply.id))  # type: ignore[arg-type]
    assert words == 24


def test_any_worker_knows_every_batch(stack: Stack) -> None:
    cases = [{"case": f"Batch {n}", "tracker": f"batch-{n}"} for n in range(6)]

    def submit(_: int) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=20)
        with closing(connection):
            headers = {"Content-Type": "application/json", "Idempotency-Key": "the batch"}
            body = json.dumps({"cases": cases})
            connection.request("POST", "/predict/v1/batch", body, headers)
            answer = connection.getresponse()
            return Reply(answer.status, answer.read(), dict(answer.getheaders()))

    told = at_once(10, submit)
    assert {reply.status for reply in told} == {202}
    assert len({reply.json()["batch_id"] for reply in told}) == 1
    status = told[0].json()["status_url"]

    def done() -> bool:
        return all(stack.get(status).json()["status"] == "done" for _ in range(6))

    stack.wait(done, 60)
    pages = {stack.get(told[0].json()["results_url"]).body for _ in range(8)}
    assert len(pages) == 1
    lines = [json.loads(line) for line in pages.pop().splitlines()]
    assert [line["status"] for line in lines] == [200] * 6


def test_kill_9_of_workers_loses_and_doubles_nothing_and_no_counter_goes_back(
    stack: Stack,
) -> None:
    parent = stack.pid("server")
    assert parent is not None
    middleware = Middleware(stack, model_name="instant")
    counts: list[float] = []

    def post(number: int) -> Reply:
        if number in (40, 120):
            stack.wait(lambda: len(workers_of(parent)) == 2, 30)
            os.kill(workers_of(parent)[number // 120], signal.SIGKILL)
        if number % 10 == 0:
            with suppress(OSError, http.client.HTTPException):
                counts.append(counted(stack, "ddx_predictions_total"))
        return middleware.predict(f"Killed {number}", tracker=f"killed-{number}")

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(post, range(200)))
    assert [reply.status for reply in told] == [200] * 200
    stack.wait(lambda: len(workers_of(parent)) == 2, 30)
    stack.wait(lambda: b'"2 of 2 ready"' in stack.get("/readyz").body, 30)
    # Eight threads ask at once: an older count may be noted after a newer one, by a few.
    assert all(later >= earlier - 8 for earlier, later in itertools.pairwise(counts))
    again = at_once(200, lambda n: middleware.predict(f"Killed {n}", tracker=f"killed-{n}"))
    assert [reply.body for reply in again] == [reply.body for reply in told]
    assert counted(stack, "ddx_predictions_total") >= max(counts)

    def settled() -> bool:
        return all(r.info.status != "RUNNING" for r in stack.runs()) and not check(
            stack, told, stack.runs()
        )

    stack.wait(settled, 120)
    log = (stack.home / "ddx_data" / "logs" / "server.log").read_text()
    assert "ended (signal 9); it is started again" in log
    assert '"adopted"' in log


def test_the_metrics_are_those_of_all_workers(stack: Stack) -> None:
    stack.wait(lambda: counted(stack, "ddx_running_predictions") == 0, 20)
    before = counted(stack, "ddx_predictions_total")
    with ThreadPoolExecutor(30) as pool:
        waiting = [
            pool.submit(stack.post, case=f"Counted {n}", model_name="slow") for n in range(20)
        ]
        stack.wait(lambda: counted(stack, "ddx_running_predictions") > 10, 10)
        assert all(one.result().status == 200 for one in waiting)
    told = {counted(stack, "ddx_predictions_total") for _ in range(8)}
    assert told == {before + 20}
    assert counted(stack, "ddx_running_predictions_limit") == 256
    # A worker that comes and goes is no new server.
    began = {counted(stack, "process_start_time_seconds") for _ in range(8)}
    assert len(began) == 1


def test_a_restart_says_the_same_bytes_also_with_another_number_of_workers(
    tmp_path: Path,
) -> None:
    told: dict[str, bytes] = {}
    for count in ("1", "2", "3", "1"):
        site = Alone(tmp_path, DDX_WORKERS=count)
        with site.serving():
            for tracker, body in told.items():
                for _ in range(4):
                    assert site.stack.post(case=f"Case {tracker}", tracker=tracker).body == body
            for n in range(8):
                tracker = f"{len(told)}-{n}"
                told[tracker] = site.stack.post(case=f"Case {tracker}", tracker=tracker).body
    assert sum(kept(tmp_path).values()) == 32


def test_a_signal_drains_all_workers_at_once(tmp_path: Path) -> None:
    site = Alone(tmp_path)
    with site.serving() as parent, ThreadPoolExecutor(12) as pool:
        waiting = [
            pool.submit(site.stack.post, case=f"Drained {n}", model_name="slow") for n in range(12)
        ]
        site.stack.wait(lambda: counted(site.stack, "ddx_running_predictions") == 12, 20)
        parent.send_signal(signal.SIGTERM)
        assert [one.result().status for one in waiting] == [200] * 12
        # As a server without workers: the signal is what ended it.
        assert parent.wait(30) == -signal.SIGTERM


def test_the_workers_end_with_their_parent(tmp_path: Path) -> None:
    site = Alone(tmp_path)
    with site.serving() as parent:
        pids = workers_of(parent.pid)
        assert len(pids) == 2
        parent.kill()
        site.stack.wait(lambda: all(gone(pid) for pid in pids), 10)


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = Alone(tmp_path / "a"), Alone(tmp_path / "b")
    second.environment["DDX_PORT"] = str(first.stack.port)
    with first.serving():
        late = second.start()
        assert late.wait(60) == 4
        assert f"port {first.stack.port} is held by pid" in second.stack.last_words().lower()


def test_a_second_parent_on_the_same_data_folder_touches_nothing(tmp_path: Path) -> None:
    first, second = Alone(tmp_path), Alone(tmp_path)
    with first.serving():
        assert first.stack.post(case="Fever.").status == 200
        assert second.start().wait(60) == 33
        assert "writes the journal 'main'" in first.stack.last_words()
        told = {counted(first.stack, "ddx_predictions_total") for _ in range(8)}
        assert told == {1}


def test_every_worker_follows_the_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()

    def put() -> None:
        made = authority.issue_cert("127.0.0.1")
        made.private_key_pem.write_to_path(tmp_path / "key.new")
        (tmp_path / "cert.new").write_bytes(b"".join(one.bytes() for one in made.cert_chain_pems))
        (tmp_path / "key.new").replace(tmp_path / "key.pem")
        (tmp_path / "cert.new").replace(tmp_path / "cert.pem")

    def shown() -> set[bytes]:
        return {
            ssl.PEM_cert_to_DER_cert(
                ssl.get_server_certificate(("127.0.0.1", site.stack.port), timeout=10)
            )
            for _ in range(16)
        }

    put()
    site = Alone(
        tmp_path,
        DDX_TLS_CERT_FILE=str(tmp_path / "cert.pem"),
        DDX_TLS_KEY_FILE=str(tmp_path / "key.pem"),
    )
    parent = site.start()
    try:
        site.stack.wait(lambda: len(shown()) == 1, 60)
        site.stack.wait(lambda: b"all workers are ready" in _log(site), 60)
        old = shown()
        put()
        site.stack.wait(lambda: len(shown() | old) == 2 and not shown() & old, 60)
    finally:
        parent.send_signal(signal.SIGTERM)
        parent.wait(60)


def _log(site: Alone) -> bytes:
    return (site.stack.home / "up.log").read_bytes()


def test_a_key_s_limits_hold_over_all_workers(tmp_path: Path) -> None:
    site = Alone(tmp_path)
    made = subprocess.run(
        [
            *(sys.executable, "-m", "ddx", "keys", "create", "--role", "predict", "--json"),
            *("--rate", "20", "--running", "3"),
        ],
        env=site.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    token = json.loads(made.stdout)["token"]

    def post(model: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", site.stack.port, timeout=20)
        with closing(connection):
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
            body = json.dumps({"case": "Fever.", "model_name": model})
            connection.request("POST", "/predict/v1", body, headers)
            return connection.getresponse().status

    with site.serving():
        began_s = time.monotonic()
        with ThreadPoolExecutor(10) as pool:
            slow = list(pool.map(post, ["slower"] * 10))
        assert slow.count(200) == 3
        fast = [post("instant") for _ in range(40)]
        # What is refused for being one too many under way took nothing of the rate.
        refilled = (time.monotonic() - began_s) / 3
        assert 17 <= fast.count(200) <= 17 + refilled + 1
        assert set(fast) == {200, 429}
