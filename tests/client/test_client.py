"""Both clients against a real port: typed answers, and tries that ask for nothing twice."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.make import a_prediction, an_answer
from tests.web.real import Fault, Running, running

from ddx.client import (
    Accepted,
    Answer,
    AsyncClient,
    BadReply,
    Client,
    Diagnosis,
    Refused,
    Retries,
    Unreachable,
    answers,
)
from ddx.core.response import reply
from ddx.services.lookup import Wanted

CASE = "A 24-year-old man has had fever for 3 days.\u2028And \x85 a rash."
FIXED = ["Fixed diagnosis 1", "Fixed diagnosis 2", "Fixed diagnosis 3"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("server")) as found:
        yield found


class Ask:
    """Either client, used alike: `ask(lambda client: client.predict(…))`."""

    def __init__(self, site: Running, kind: str) -> None:
        self.site, self.kind = site, kind
        self.slept: list[float] = []

    def __call__(self, use: Callable[[Any], Any], url: str | None = None, **more: Any) -> Any:
        self.site.asked.clear()
        more.setdefault("timeout_s", 20)
        if self.kind == "sync":
            with Client(url or self.site.url, sleep=self.slept.append, **more) as client:
                found = use(client)
                return list(found) if hasattr(found, "__next__") else found
        return asyncio.run(self._async(use, url or self.site.url, more))

    async def _async(self, use: Callable[[Any], Any], url: str, more: Any) -> Any:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            await asyncio.sleep(0)

        async with AsyncClient(url, sleep=sleep, **more) as client:
            found = use(client)
            if hasattr(found, "__anext__"):
                return [one async for one in found]
            return await found


@pytest.fixture(params=["sync", "async"])
def ask(site: Running, request: pytest.FixtureRequest) -> Iterator[Ask]:
    yield Ask(site, request.param)
    assert site.faults == []


def count(site: Running) -> int:
    return len(site.server.page(Wanted(), 500).predictions)


def test_an_answer_is_typed(ask: Ask, site: Running) -> None:
    answer = ask(lambda client: client.predict(CASE, tracker=f"typed-{ask.kind}", prompt_version=1))
    assert isinstance(answer, Answer)
    assert (answer.outcome, answer.model_name) == ("answered", "instant")
    assert [d.name for d in answer.diagnoses][:3] == FIXED
    assert [d.rank for d in answer.diagnoses] == [1, 2, 3, 4, 5]
    assert answer.diagnoses[0].likelihood == "High"
    assert answer.diagnoses[0].summary[0].startswith("A fixed text")
    assert "Lack of Fit Reasoning" in answer.diagnoses[0].rationale
    assert answer.raw["prediction_id"] == answer.prediction_id
    again = ask(lambda client: client.get(answer.prediction_id))
    assert again == answer


def test_evidence_and_codes_are_typed() -> None:
    prediction = a_prediction()
    _, body = reply(prediction, an_answer())
    first = answers.read(answers.answer, body).diagnoses[0]
    (evidence,), (code,) = first.supporting, first.codes
    assert evidence.start is not None
    assert prediction.request.case[evidence.start : evidence.end] == evidence.quote == "fever"
    assert (code.system, code.code) == ("MONDO", "MONDO:0005502")
    assert evidence.likelihood_ratio is None


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_a_refusal_that_may_pass_is_tried_again(ask: Ask, site: Running, status: int) -> None:
    site.faults = [Fault(status), Fault(status)]
    assert ask(lambda client: client.predict(CASE)).outcome == "answered"
    assert len(site.asked) == 3
    assert 0.25 <= ask.slept[0] <= 0.5 <= ask.slept[1] <= 1.0


def test_the_seconds_of_retry_after_are_waited(ask: Ask, site: Running) -> None:
    site.faults = [
        Fault(503, headers={"Retry-After": "7"}),
        Fault(503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    ]
    ask(lambda client: client.predict(CASE))
    assert ask.slept[0] == 7.0
    assert ask.slept[1] <= 1.0


def test_a_server_that_asks_for_too_much_is_not_asked_again(ask: Ask, site: Running) -> None:
    site.faults = [Fault(503, headers={"Retry-After": "3600"})]
    with pytest.raises(Refused) as refused:
        ask(lambda client: client.predict(CASE))
    assert refused.value.retry_after_s == 3600
    assert len(site.asked) == 1


def test_a_reply_that_was_lost_is_asked_for_again_and_nothing_is_predicted_twice(
    ask: Ask, site: Running
) -> None:
    before = count(site)
    site.faults = [Fault(after=True), Fault(), Fault(bytes=300)]
    answer = ask(lambda client: client.predict(CASE))
    assert len(site.asked) == 4
    assert count(site) == before + 1
    assert answer.outcome == "answered"


def test_after_the_last_try_the_problem_is_told(ask: Ask, site: Running) -> None:
    site.faults = [Fault(503)] * 2
    with pytest.raises(Refused) as refused:
        ask(lambda client: client.predict(CASE), retries=Retries(attempts=2))
    assert refused.value.problem.code == "overloaded"
    site.faults = [Fault(502, body="<html>Bad gateway</html>")]
    with pytest.raises(Refused) as refused:
        ask(lambda client: client.predict(CASE), retries=Retries(attempts=1))
    assert (refused.value.problem.status, refused.value.problem.code) == (502, "http_error")


@pytest.mark.parametrize(
    ("options", "status", "code", "field"),
    [
        ({"top_differential": 51}, 422, "invalid_request", "top_differential"),
        ({"model_name": "none-such"}, 400, "unknown_model", None),
        ({"model_name": "gemini-2.0-flash"}, 503, "model_not_configured", None),
    ],
)
def test_what_will_not_pass_is_not_tried_again(
    ask: Ask, site: Running, options: Any, status: int, code: str, field: str | None
) -> None:
    with pytest.raises(Refused) as refused:
        ask(lambda client: client.predict(CASE, **options))
    problem = refused.value.problem
    assert (problem.status, problem.code, problem.field) == (status, code, field)
    assert problem.advice
    assert len(site.asked) == 1
    if problem.prediction_id:
        with pytest.raises(Refused) as again:
            ask(lambda client: client.get(problem.prediction_id))
        assert again.value.problem == problem
        assert len(site.asked) == 1


def test_no_server_is_unreachable(ask: Ask) -> None:
    with pytest.raises(Unreachable):
        ask(lambda client: client.health(), url="http://127.0.0.1:9")
    assert len(ask.slept) == 3


def test_what_is_no_ddx_server_is_said(ask: Ask, site: Running) -> None:
    site.faults = [Fault(200, body="<html>")]
    with pytest.raises(BadReply):
        ask(lambda client: client.health())


def test_health(ask: Ask) -> None:
    assert ask(lambda client: client.health()).status == "AVAILABLE"


def test_a_stream_is_accepted_diagnoses_and_the_answer(ask: Ask) -> None:
    heard = ask(lambda client: client.stream(CASE))
    kinds = [type(one) for one in heard]
    assert kinds == [Accepted, *[Diagnosis] * 5, Answer]
    assert heard[0].prediction_id == heard[-1].prediction_id
    assert tuple(heard[1:-1]) == heard[-1].diagnoses


def test_a_stream_that_breaks_goes_on_and_says_nothing_twice(ask: Ask, site: Running) -> None:
    before = count(site)
    site.faults = [Fault(), Fault(503), Fault(bytes=60), Fault(bytes=1500)]
    retries = Retries(attempts=6)
    heard = ask(lambda client: client.stream(CASE), retries=retries)
    assert [type(one) for one in heard] == [Accepted, *[Diagnosis] * 5, Answer]
    assert count(site) == before + 1
    assert len(site.asked) == 5


def test_a_stream_that_is_refused_raises(ask: Ask, site: Running) -> None:
    with pytest.raises(Refused) as refused:
        ask(lambda client: client.stream(CASE, model_name="none-such"))
    assert refused.value.problem.code == "unknown_model"
    assert len(site.asked) == 1


def test_a_model_that_fails_in_a_stream_is_tried_again(
    ask: Ask, site: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ddx.adapters.instant_engine import InstantEngine

    answer, failures = InstantEngine.ask, iter([RuntimeError("no")])

    async def sometimes(*words: Any) -> Any:
        if (failure := next(failures, None)) is not None:
            raise failure
        return await answer(*words)

    monkeypatch.setattr(InstantEngine, "ask", sometimes)
    heard = ask(lambda client: client.stream(CASE))
    first, second = [one for one in heard if isinstance(one, Accepted)]
    assert first != second
    assert heard[-1].prediction_id == second.prediction_id


def test_a_batch_is_handed_over_once_and_waited_for(ask: Ask, site: Running) -> None:
    before = count(site)
    site.faults = [Fault(after=True), Fault(503)]
    cases = ["Fever.", {"case": CASE, "top_differential": 2, "model_name": "none-such"}]
    results = ask(lambda client: client.batch(cases, poll_s=0.01))
    assert [one.index for one in results] == [0, 1]
    assert results[0].answer is not None
    assert results[0].answer.prediction_id == results[0].prediction_id
    assert results[1].problem is not None
    assert results[1].problem.code == "unknown_model"
    assert count(site) == before + 2


def test_predictions_are_listed_page_by_page(ask: Ask, site: Running) -> None:
    with Client(site.url) as client:
        for _ in range(25):
            client.predict("Listed.")
    found = ask(lambda client: client.predictions(outcome="answered", model_name="instant"))
    assert len(found) >= 25
    assert len(site.asked) >= 2
    ids = [one.prediction_id for one in found]
    assert ids == sorted(set(ids), reverse=True)


def test_importing_the_client_loads_nothing_of_the_server_and_is_fast() -> None:
    program = (
        # Processor time, which a busy machine leaves as it is.
        "import time; began = time.process_time(); import ddx.client, json, sys\n"
        "print(json.dumps([time.process_time() - began, sorted(sys.modules)]))"
    )
    runs = [
        json.loads(subprocess.check_output([sys.executable, "-c", program], cwd=Path("/")))
        for _ in range(3)
    ]
    loaded = set(runs[0][1])
    heavy = {"fastapi", "starlette", "pydantic", "apsw", "numpy", "mlflow", "dspy", "httpx"}
    assert not loaded & (heavy | {"ddx.core", "ddx.errors", "ddx.web"})
    assert min(seconds for seconds, _ in runs) < 0.5
