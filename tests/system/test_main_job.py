"""The main job on a whole installation: a case in, a differential out, a run in MLflow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.system.middleware import Middleware
from tests.system.stack import ARTIFACTS, PARAMS, Reply, Stack, check, running

CASE = (
    "A 24-year-old man has had high fever for 3 days with severe headache, pain behind the "
    "eyes, joint pain, vomiting and a petechial rash. He has no cough."
)

pytestmark = pytest.mark.xdist_group("system")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("home"), DDX_BENCH_MODELS="1") as stack:
        yield stack


def run_of(stack: Stack, reply: Reply, within_s: float = 20) -> object:
    """The run of a reply, once it is there."""
    found: list[object] = []

    def arrived() -> bool:
        found[:] = [r for r in stack.runs() if r.data.tags.get("ddx.prediction_id") == reply.id]
        return bool(found) and found[0].info.status != "RUNNING"  # type: ignore[attr-defined]

    stack.wait(arrived, within_s)
    assert len(found) == 1
    return found[0]


def test_a_case_becomes_a_differential_and_a_complete_run(stack: Stack) -> None:
    stack.post(case=CASE)
    began_ms = time.time() * 1000
    reply = stack.post(case=CASE, tracker="visit-1")
    assert reply.status == 200, reply.body
    data = reply.json()["data"]
    assert data["outcome"] == "answered"
    for diagnosis in data["result"]:
        assert diagnosis["supporting"]
        for evidence in diagnosis["supporting"] + diagnosis["contradicting"]:
            if evidence["quote"] is not None:
                assert CASE[evidence["start"] : evidence["end"]] == evidence["quote"]

    run = run_of(stack, reply)
    info, values = run.info, run.data  # type: ignore[attr-defined]
    assert info.status == "FINISHED"
    assert info.run_name == reply.id
    assert set(values.params) == PARAMS
    assert values.params["model_name"] == "knowledge"
    assert values.params["case_length"] == str(len(CASE))
    assert values.metrics["success"] == 1.0
    assert abs(info.start_time - began_ms) < 2000
    assert (info.end_time - info.start_time) / 1000 == pytest.approx(
        values.metrics["processing_time"], abs=0.002
    )
    files = stack.artifacts(run)
    assert set(files) == ARTIFACTS
    assert files["input_case.txt"].decode() == CASE
    assert files["final_response.txt"] == reply.body
    assert values.tags["ddx.tracker"] == "visit-1"
    assert values.tags["ddx.outcome"] == "answered"


def test_artifacts_lie_where_the_guide_says(stack: Stack) -> None:
    run = run_of(stack, stack.post(case=CASE))
    experiment = run.info.experiment_id  # type: ignore[attr-defined]
    run_id = run.info.run_id  # type: ignore[attr-defined]
    folder = stack.home / "mlflow_data" / "artifacts" / experiment / run_id / "artifacts"
    assert {p.name for p in folder.iterdir()} == ARTIFACTS


@pytest.mark.parametrize(
    ("body", "status", "outcome", "run_status"),
    [
        ({"case": "Hello."}, 200, "insufficient_information", "FINISHED"),
        ({"case": CASE, "model_name": "no-such"}, 400, "failed", "FAILED"),
        ({"case": CASE, "prompt_version": "77"}, 400, "failed", "FAILED"),
        ({"case": CASE, "model_name": "gemini-2.0-flash"}, 503, "failed", "FAILED"),
        ({"case": "🤒 fever\x00 and cough\x07 for 3 days"}, 200, None, "FINISHED"),
    ],
)
def test_every_accepted_request_leaves_its_run(
    stack: Stack, body: dict[str, Any], status: int, outcome: str | None, run_status: str
) -> None:
    reply = stack.post(**body)
    assert reply.status == status
    run = run_of(stack, reply)
    assert run.info.status == run_status  # type: ignore[attr-defined]
    tags = run.data.tags  # type: ignore[attr-defined]
    assert outcome is None or tags["ddx.outcome"] == outcome
    files = stack.artifacts(run)
    assert files["input_case.txt"].decode() == body["case"]
    assert files["final_response.txt"] == reply.body


def test_a_refused_request_leaves_no_run(stack: Stack) -> None:
    last = stack.post(case=CASE)
    run_of(stack, last)
    before = len(stack.runs())
    assert stack.post(case="").status == 422
    assert stack.post(case="x" * 1_000_000).status == 413
    run_of(stack, stack.post(case=CASE))
    assert len(stack.runs()) == before + 1


def test_a_hundred_at_once_are_a_hundred_answers_and_runs(stack: Stack) -> None:
    with ThreadPoolExecutor(100) as pool:
        told = list(pool.map(lambda n: stack.post(case=f"{CASE} ({n})"), range(100)))
    assert [r.status for r in told] == [200] * 100
    assert len({r.id for r in told}) == 100
    stack.wait(lambda: not check(stack, told, stack.runs()), 120)


def test_kill_9_of_each_process_loses_and_doubles_nothing(stack: Stack) -> None:
    middleware = Middleware(stack)

    def send(number: int) -> Reply:
        if number in (30, 80, 120, 160):
            stack.kill({30: "server", 80: "deliverer", 120: "MLflow", 160: "server"}[number])
        return middleware.predict(f"{CASE} ({number})", tracker=f"kill-{number}")

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(send, range(200)))
    assert [r.status for r in told] == [200] * 200

    def settled() -> bool:
        return all(r.info.status != "RUNNING" for r in stack.runs()) and not check(
            stack, told, stack.runs()
        )

    stack.wait(settled, 180)
    assert check(stack, told, stack.runs()) == []


def test_a_stopped_installation_leaves_nothing_running(tmp_path: Path) -> None:
    with running(tmp_path, DDX_BENCH_MODELS="1", DDX_DEFAULT_MODEL="instant") as stack:
        pids = [stack.pid(name) for name in ("server", "deliverer", "MLflow")]
        assert all(pids)
        assert stack.stop() == 0
    for pid in pids:
        assert not Path(f"/proc/{pid}").exists()
