"""Answering one request: what is kept, when, and what a tracker does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from tests.make import NOON, a_request, an_answer

from ddx.adapters.memory import MemoryJournal
from ddx.core.record import (
    Declined,
    EngineAnswer,
    Failed,
    Interrupted,
    Prediction,
    PredictionId,
    Request,
)
from ddx.core.registry import EngineKind, Model, PromptConfig
from ddx.errors import JournalFull, Overloaded, TrackerReused
from ddx.services.predict import Predictor, Registry
from ddx.services.recover import close_unfinished

MODELS = {
    "knowledge": Model(name="knowledge", engine=EngineKind.KNOWLEDGE, timeout_s=0.2),
    "keyed": Model(name="keyed", engine=EngineKind.DSPY, api_key_env="SOME_KEY"),
    "instant": Model(name="instant", engine=EngineKind.INSTANT),
}
PROMPTS = {1: PromptConfig(index=1, name="one", text="…")}


class PowerCut(BaseException):
    """Like kill -9: no `except Exception` may stop it."""


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class Asked:
    """An engine that counts, waits where it is told to, and answers what it is told."""

    def __init__(self, answer: EngineAnswer | None = None) -> None:
        self.answer = answer or an_answer()
        self.requests: list[Request] = []
        self.gate: asyncio.Event | None = None
        self.fault: Exception | None = None

    async def ask(self, request: Request, deadline_s: float) -> EngineAnswer:
        self.requests.append(request)
        if self.gate:
            await self.gate.wait()
        if self.fault:
            raise self.fault
        return self.answer


def a_predictor(
    journal: MemoryJournal,
    engine: Asked,
    *,
    at: Callable[[str], None] = lambda name: None,
    admit: Callable[[], None] = lambda: None,
    max_running: int = 10,
) -> Predictor:
    numbers = iter(range(1, 10_000))
    return Predictor(
        journal=journal,
        registry=Registry(models=MODELS, prompts=PROMPTS, has_key=lambda m: not m.api_key_env),
        engine_of=lambda model: engine,
        clock=Clock(),
        luck=lambda n: next(numbers).to_bytes(n),
        version="0.1.0",
        admit=admit,
        max_running=max_running,
        at=at,
    )


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


async def test_an_answer_is_kept_before_it_is_returned(journal: MemoryJournal) -> None:
    done = await a_predictor(journal, Asked()).predict(a_request(), "me")
    assert journal.find(done.id) == done
    assert done.completion is not None
    assert done.completion.status == 200


async def test_nothing_is_asked_when_the_journal_is_full(journal: MemoryJournal) -> None:
    journal.trouble = JournalFull()
    engine = Asked()
    with pytest.raises(JournalFull):
        await a_predictor(journal, engine).predict(a_request(), "me")
    assert engine.requests == []


async def test_a_request_that_is_not_admitted_leaves_nothing(journal: MemoryJournal) -> None:
    def refuse() -> None:
        raise JournalFull

    engine = Asked()
    with pytest.raises(JournalFull):
        await a_predictor(journal, engine, admit=refuse).predict(a_request(), "me")
    assert engine.requests == []
    assert journal.last_seq() == 0


async def test_an_outcome_that_cannot_be_kept_is_not_told(journal: MemoryJournal) -> None:
    def fill_the_disk(moment: str) -> None:
        if moment == "answered":
            journal.trouble = JournalFull()

    predictor = a_predictor(journal, Asked(), at=fill_the_disk)
    request = a_request(tracker="t")
    with pytest.raises(JournalFull):
        await predictor.predict(request, "me")

    # Once there is room, the same tracker gets an answer: the lost one ends as interrupted.
    journal.trouble = None
    (lost,) = journal.unfinished()
    again = await a_predictor(journal, Asked()).predict(request, "me")
    assert again.retry_of == lost
    found = journal.find(lost)
    assert found is not None
    assert found.outcome == Interrupted()


@pytest.mark.parametrize(
    ("fatal", "outcome"), [("accepted", Interrupted()), ("answered", Interrupted()), ("kept", None)]
)
async def test_an_accepted_request_outlives_a_power_cut(
    journal: MemoryJournal, fatal: str, outcome: Interrupted | None
) -> None:
    def at(name: str) -> None:
        if name == fatal:
            raise PowerCut

    with pytest.raises(PowerCut):
        await a_predictor(journal, Asked(), at=at).predict(a_request(), "me")

    close_unfinished(journal)
    event = journal.events(0, 1)[0]
    found = journal.find(event.prediction_id)
    assert found is not None
    assert found.outcome == (outcome or an_answer().outcome)
    assert journal.unfinished() == []


async def test_the_same_tracker_and_body_get_the_same_bytes(journal: MemoryJournal) -> None:
    engine = Asked()
    predictor = a_predictor(journal, engine)
    first = await predictor.predict(a_request(tracker="t"), "me")
    again = await predictor.predict(a_request(tracker="t"), "me")
    after_restart = await a_predictor(journal, engine).predict(a_request(tracker="t"), "me")
    assert first == again == after_restart
    assert len(engine.requests) == 1


async def test_a_second_caller_waits_for_the_first_ones_answer(journal: MemoryJournal) -> None:
    engine = Asked()
    engine.gate = asyncio.Event()
    predictor = a_predictor(journal, engine)
    asked = [asyncio.create_task(predictor.predict(a_request(tracker="t"), "me")) for _ in range(5)]
    await asyncio.sleep(0.02)
    engine.gate.set()
    assert len({p.id for p in await asyncio.gather(*asked)}) == 1
    assert len(engine.requests) == 1


async def test_the_same_tracker_with_another_body_is_refused(journal: MemoryJournal) -> None:
    predictor = a_predictor(journal, Asked())
    await predictor.predict(a_request(tracker="t"), "me")
    with pytest.raises(TrackerReused):
        await predictor.predict(a_request(tracker="t", case="another case"), "me")
    with pytest.raises(TrackerReused):
        await predictor.predict(a_request(tracker="t", temperature=0.1), "me")


async def test_two_callers_may_use_the_same_tracker(journal: MemoryJournal) -> None:
    predictor = a_predictor(journal, Asked())
    one = await predictor.predict(a_request(tracker="t"), "one")
    two = await predictor.predict(a_request(tracker="t", case="another case"), "two")
    assert one.id != two.id


async def test_after_a_failure_the_same_tracker_starts_a_new_prediction(
    journal: MemoryJournal,
) -> None:
    engine = Asked(an_answer(Failed(code="model_error", message="The provider answered 500.")))
    predictor = a_predictor(journal, engine)
    failed = await predictor.predict(a_request(tracker="t"), "me")
    engine.answer = an_answer()
    retry = await predictor.predict(a_request(tracker="t"), "me")
    third = await predictor.predict(a_request(tracker="t"), "me")
    assert failed.completion is not None
    assert failed.completion.status == 502
    assert retry.retry_of == failed.id
    assert third == retry


async def test_many_retries_of_one_failure_make_one_new_prediction(
    journal: MemoryJournal,
) -> None:
    engine = Asked(an_answer(Failed(code="model_error", message="…")))
    predictor = a_predictor(journal, engine)
    await predictor.predict(a_request(tracker="t"), "me")
    engine.answer = an_answer()
    done = await asyncio.gather(
        *(predictor.predict(a_request(tracker="t"), "me") for _ in range(8))
    )
    assert len({p.id for p in done}) == 1
    assert len(engine.requests) == 2


async def test_too_little_detail_is_an_answer_and_final(journal: MemoryJournal) -> None:
    engine = Asked(an_answer(Declined(reason="no findings")))
    predictor = a_predictor(journal, engine)
    first = await predictor.predict(a_request(tracker="t"), "me")
    assert first.completion is not None
    assert first.completion.status == 200
    assert await predictor.predict(a_request(tracker="t"), "me") == first


@pytest.mark.parametrize(
    ("changes", "code", "status"),
    [
        ({"model_name": "nobody"}, "unknown_model", 400),
        ({"prompt_version": 99}, "unknown_prompt", 400),
        ({"model_name": "keyed"}, "model_not_configured", 503),
        ({"model_name": "instant"}, "unknown_model", 400),
    ],
)
async def test_what_cannot_be_asked_is_kept_as_failed(
    journal: MemoryJournal, changes: dict[str, object], code: str, status: int
) -> None:
    engine = Asked()
    done = await a_predictor(journal, engine).predict(a_request(**changes), "me")
    assert isinstance(done.outcome, Failed)
    assert done.outcome.code == code
    assert done.completion is not None
    assert done.completion.status == status
    assert engine.requests == []
    assert journal.find(done.id) == done


async def test_a_model_without_its_key_names_the_variable(journal: MemoryJournal) -> None:
    done = await a_predictor(journal, Asked()).predict(a_request(model_name="keyed"), "me")
    assert isinstance(done.outcome, Failed)
    assert "SOME_KEY" in done.outcome.message


async def test_an_engine_that_raises_is_a_failure_without_its_text(
    journal: MemoryJournal, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Asked()
    engine.fault = ValueError("the case said: secret")
    done = await a_predictor(journal, engine).predict(a_request(), "me")
    assert isinstance(done.outcome, Failed)
    assert done.outcome.code == "model_error"
    assert "secret" not in repr(done) + caplog.text


async def test_an_engine_that_hangs_misses_its_deadline(
    journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ddx.services.predict.asking.DEADLINE_GRACE_S", 0.0)
    engine = Asked()
    engine.gate = asyncio.Event()
    done = await a_predictor(journal, engine).predict(a_request(), "me")
    assert isinstance(done.outcome, Failed)
    assert done.outcome.code == "model_deadline"
    assert done.completion is not None
    assert done.completion.status == 504


async def test_a_server_that_stops_answers_who_still_waits_and_keeps_the_interruption(
    journal: MemoryJournal,
) -> None:
    engine = Asked()
    engine.gate = asyncio.Event()
    predictor = a_predictor(journal, engine)
    waiting = [asyncio.create_task(predictor.predict(a_request(), "me")) for _ in range(3)]
    await asyncio.sleep(0.02)
    predictor.interrupt()
    for done in await asyncio.wait_for(asyncio.gather(*waiting), 5):
        assert isinstance(done.outcome, Interrupted)
        assert done.completion is not None
        assert (done.completion.status, done.completion.duration_s) == (503, None)
        assert '"interrupted"' in done.completion.body
        assert journal.find(done.id) == done


async def test_too_many_at_once_are_refused_before_anything_is_kept(
    journal: MemoryJournal,
) -> None:
    engine = Asked()
    engine.gate = asyncio.Event()
    predictor = a_predictor(journal, engine, max_running=2)
    first = [asyncio.create_task(predictor.predict(a_request(), "me")) for _ in range(2)]
    await asyncio.sleep(0.02)
    with pytest.raises(Overloaded):
        await predictor.predict(a_request(), "me")
    engine.gate.set()
    await asyncio.gather(*first)
    assert len(engine.requests) == 2


async def test_a_prediction_cut_short_by_a_shutdown_ends_as_interrupted(
    journal: MemoryJournal,
) -> None:
    engine = Asked()
    engine.gate = asyncio.Event()
    predictor = a_predictor(journal, engine)
    asked = asyncio.create_task(predictor.predict(a_request(), "me"))
    await asyncio.sleep(0.02)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    (event, _) = journal.events(0, 10)
    found = journal.find(event.prediction_id)
    assert found is not None
    assert found.outcome == Interrupted()


def test_ids_are_ordered_by_time() -> None:
    from ddx.core import ids

    later = NOON + timedelta(milliseconds=1)
    assert ids.prediction_id(NOON, b"\xff" * 10) < ids.prediction_id(later, bytes(10))
    assert ids.run_id(PredictionId("01-2")) == "012"


def test_a_record_is_completed_once() -> None:
    from tests.make import finished

    whole: Prediction = finished()
    assert whole.completion is not None
    with pytest.raises(ValueError, match="already complete"):
        whole.completed(replace(whole.completion))
