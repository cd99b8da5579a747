"""Trackers that another process holds: one answer, whoever is asked, and none is lost with a
process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from tests.make import a_request, an_answer
from tests.services.test_predict import MODELS, PROMPTS, Asked, Clock

from ddx.adapters.memory import MemoryClaims, MemoryJournal
from ddx.core.chain import Kind
from ddx.core.record import Failed, Prediction, PredictionId
from ddx.errors import ClaimsUnavailable, Erased, JournalFull, TrackerReused, TrackerUnsettled
from ddx.ports import Held, Holder
from ddx.services.predict import Elsewhere, Predictor, Registry
from ddx.services.recover import close_unfinished


class PowerCut(BaseException):
    """Like kill -9: no `except Exception` may stop it."""


@dataclass
class Deployment:
    """Processes that share claims; those of one node can read each other's journals."""

    shared: dict[tuple[str, str], tuple[bytes, Held]] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    keeps_replies: bool = False

    def process(self, instance: str, node: str = "here", **more: object) -> Process:
        self.processes.append(Process(self, instance, node, **more))  # type: ignore[arg-type]
        return self.processes[-1]


class Process:
    """One server process, and the neighbours as it sees them."""

    def __init__(
        self,
        deployment: Deployment,
        instance: str,
        node: str,
        at: Callable[[str], None] = lambda name: None,
        journal: MemoryJournal | None = None,
    ) -> None:
        number = len(deployment.processes)
        self.deployment, self.node = deployment, node
        self.lives = True
        self.holder = Holder(node=node, instance=instance, life=f"life {number}")
        self.journal = journal or MemoryJournal(instance)
        self.claims = MemoryClaims(
            self.holder, deployment.shared, keeps_replies=deployment.keeps_replies
        )
        self.engine = Asked()
        self.clock = Clock()
        numbers = iter(range(number * 1000 + 1, number * 1000 + 1000))
        self.predictor = Predictor(
            journal=self.journal,
            registry=Registry(models=MODELS, prompts=PROMPTS, has_key=lambda m: True),
            engine_of=lambda model: self.engine,
            clock=self.clock,
            luck=lambda n: next(numbers).to_bytes(n),
            version="0.1.0",
            claims=self.claims,
            elsewhere=Elsewhere(self, node, self.clock.monotonic, self.pause),
            at=at,
        )

    async def pause(self, seconds: float) -> None:
        self.clock.seconds += seconds
        await asyncio.sleep(0)

    # --- services.predict.Neighbours ------------------------------------------------------

    def alive(self, holder: Holder) -> bool:
        return any(
            one.lives
            and one.holder.instance == holder.instance
            and holder.life in ("", one.holder.life)
            for one in self.deployment.processes
        )

    def find(self, id: PredictionId, instance: str) -> Prediction | None:
        for one in self.deployment.processes:
            if one.node == self.node and (found := one.journal.find(id)) is not None:
                return found
        return None

    async def until_ended(self, holder: Holder, id: PredictionId) -> bool:
        for one in self.deployment.processes:
            if one.holder == holder and one.lives:
                await one.predictor.until_ended(id)
                return True
        return False


REQUEST = a_request(tracker="visit 1")


async def test_the_answer_of_another_process_is_the_answer() -> None:
    deployment = Deployment()
    first, second = deployment.process("main"), deployment.process("main-2")
    told = await first.predictor.predict(REQUEST, "me")
    assert await second.predictor.predict(REQUEST, "me") == told
    assert second.engine.requests == []


async def test_another_body_is_refused_by_every_process() -> None:
    deployment = Deployment()
    first, second = deployment.process("main"), deployment.process("main-2")
    await first.predictor.predict(REQUEST, "me")
    with pytest.raises(TrackerReused):
        await second.predictor.predict(a_request(tracker="visit 1", case="Cough."), "me")
    # Another caller's tracker is another one.
    await second.predictor.predict(a_request(tracker="visit 1", case="Cough."), "you")


async def test_who_comes_meanwhile_waits_for_the_first_answer() -> None:
    deployment = Deployment()
    first, second = deployment.process("main"), deployment.process("main-2")
    first.engine.gate = asyncio.Event()
    tasks = [asyncio.create_task(first.predictor.predict(REQUEST, "me"))]
    await asyncio.sleep(0.01)
    tasks += [asyncio.create_task(second.predictor.predict(REQUEST, "me")) for _ in range(50)]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in tasks)
    first.engine.gate.set()
    told = await asyncio.gather(*tasks)
    assert len({one.id for one in told}) == 1
    assert second.engine.requests == []


async def test_who_waited_for_a_failure_is_told_it_and_who_comes_after_tries_again() -> None:
    deployment = Deployment()
    first, second = deployment.process("main"), deployment.process("main-2")
    first.engine.answer = an_answer(Failed(code="model_error", message="m"))
    first.engine.gate = asyncio.Event()
    running = asyncio.create_task(first.predictor.predict(REQUEST, "me"))
    await asyncio.sleep(0.01)
    waiting = asyncio.create_task(second.predictor.predict(REQUEST, "me"))
    await asyncio.sleep(0.01)
    first.engine.gate.set()
    failed = await running
    assert (await waiting).id == failed.id
    again = await second.predictor.predict(REQUEST, "me")
    assert again.retry_of == failed.id
    assert await first.predictor.predict(REQUEST, "me") == again


@pytest.mark.parametrize(("moment", "is_retry"), [("claimed", False), ("accepted", True)])
async def test_a_dead_process_s_tracker_is_free_for_a_new_try(moment: str, is_retry: bool) -> None:
    def at(name: str) -> None:
        if name == moment:
            raise PowerCut

    deployment = Deployment()
    first, second = deployment.process("main", at=at), deployment.process("main-2")
    with pytest.raises(PowerCut):
        await first.predictor.predict(REQUEST, "me")
    first.lives = False
    told = await second.predictor.predict(REQUEST, "me")
    assert (told.retry_of is not None) == is_retry
    assert [one.id for one in (await second.predictor.predict(REQUEST, "me"),)] == [told.id]


async def test_its_own_next_life_frees_a_tracker_too() -> None:
    def at(name: str) -> None:
        if name == "claimed":
            raise PowerCut

    deployment = Deployment()
    first = deployment.process("main", at=at)
    with pytest.raises(PowerCut):
        await first.predictor.predict(REQUEST, "me")
    first.lives = False
    again = deployment.process("main", journal=first.journal)
    close_unfinished(again.journal)
    assert (await again.predictor.predict(REQUEST, "me")).retry_of is None


async def test_what_a_retry_was_of_is_known_after_its_own_death() -> None:
    deployment = Deployment()
    first = deployment.process("main")
    first.engine.answer = an_answer(Failed(code="model_error", message="m"))
    failed = await first.predictor.predict(REQUEST, "me")

    def at(name: str) -> None:
        if name == "claimed":
            raise PowerCut

    dying, last = deployment.process("main-2", at=at), deployment.process("main-3")
    with pytest.raises(PowerCut):
        await dying.predictor.predict(REQUEST, "me")
    dying.lives = False
    assert (await last.predictor.predict(REQUEST, "me")).retry_of == failed.id


async def test_a_living_process_s_claim_is_never_taken_from_it() -> None:
    """Between its claim and its record it may still be written: nobody may think it is not."""
    deployment = Deployment()
    first, second = deployment.process("main"), deployment.process("main-2")

    def at(name: str) -> None:
        raise PowerCut

    held_up = deployment.process("main-3", at=at)
    with pytest.raises(PowerCut):  # its event loop stops here, and it lives
        await held_up.predictor.predict(REQUEST, "me")
    for one in (first, second):
        with pytest.raises(TrackerUnsettled):
            await one.predictor.predict(REQUEST, "me")
        assert one.engine.requests == []


async def test_what_the_journal_does_not_take_keeps_no_tracker() -> None:
    deployment = Deployment()
    first, second = deployment.process("main"), deployment.process("main-2")
    first.journal.trouble = JournalFull()
    with pytest.raises(JournalFull):
        await first.predictor.predict(REQUEST, "me")
    assert (await second.predictor.predict(REQUEST, "me")).retry_of is None


async def test_who_waits_for_an_outcome_that_cannot_be_kept_is_told_and_may_try_again() -> None:
    deployment = Deployment()
    first, second = deployment.process("main"), deployment.process("main-2")
    first.engine.gate = asyncio.Event()
    running = asyncio.create_task(first.predictor.predict(REQUEST, "me"))
    await asyncio.sleep(0.01)
    waiting = asyncio.create_task(second.predictor.predict(REQUEST, "me"))
    await asyncio.sleep(0.01)
    first.journal.trouble = JournalFull()
    first.engine.gate.set()
    with pytest.raises(JournalFull):
        await running
    with pytest.raises(TrackerUnsettled):
        await waiting
    # As soon as its journal is well, it is closed there, and free everywhere.
    with pytest.raises(JournalFull):
        await first.predictor.close_left()
    first.journal.trouble = None
    await first.predictor.close_left()
    again = await second.predictor.predict(REQUEST, "me")
    assert again.retry_of is not None
    assert [event.kind for event in first.journal.events(0, 10)] == [Kind.ACCEPTED, Kind.FINISHED]


async def test_a_retry_that_no_journal_took_leaves_the_failure_to_be_tried_again() -> None:
    deployment = Deployment()
    first, second = deployment.process("main"), deployment.process("main-2")
    first.engine.answer = an_answer(Failed(code="model_error", message="m"))
    failed = await first.predictor.predict(REQUEST, "me")
    second.journal.trouble = JournalFull()
    with pytest.raises(JournalFull):
        await second.predictor.predict(REQUEST, "me")
    second.journal.trouble = None
    assert (await second.predictor.predict(REQUEST, "me")).retry_of == failed.id


async def test_without_the_claims_a_tracker_is_refused_before_an_engine_is_asked() -> None:
    process = Deployment().process("main")
    process.claims.trouble = ClaimsUnavailable()
    with pytest.raises(ClaimsUnavailable):
        await process.predictor.predict(REQUEST, "me")
    assert process.engine.requests == []
    # What has none needs none.
    await process.predictor.predict(a_request(), "me")


async def test_another_machine_answers_with_the_same_bytes() -> None:
    deployment = Deployment(keeps_replies=True)
    here, there = deployment.process("main"), deployment.process("main", node="there")
    told = await here.predictor.predict(REQUEST, "me")
    again = await there.predictor.predict(REQUEST, "me")
    assert told.completion is not None
    assert again.completion is not None
    assert (again.id, again.completion.status) == (told.id, 200)
    assert again.completion.body == told.completion.body
    assert again.outcome == told.outcome
    assert there.engine.requests == []
    assert there.journal.last_seq() == 0


async def test_another_machine_waits_for_what_is_under_way() -> None:
    deployment = Deployment(keeps_replies=True)
    here, there = deployment.process("main"), deployment.process("main", node="there")
    here.engine.gate = asyncio.Event()
    running = asyncio.create_task(here.predictor.predict(REQUEST, "me"))
    await asyncio.sleep(0.01)
    waiting = asyncio.create_task(there.predictor.predict(REQUEST, "me"))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    here.engine.gate.set()
    assert (await waiting).id == (await running).id


async def test_another_machine_tries_a_failure_again() -> None:
    deployment = Deployment(keeps_replies=True)
    here, there = deployment.process("main"), deployment.process("main", node="there")
    here.engine.answer = an_answer(Failed(code="model_error", message="m"))
    failed = await here.predictor.predict(REQUEST, "me")
    assert (await there.predictor.predict(REQUEST, "me")).retry_of == failed.id


async def test_an_erased_answer_is_gone_on_every_machine() -> None:
    deployment = Deployment(keeps_replies=True)
    here, there = deployment.process("main"), deployment.process("main", node="there")
    told = await here.predictor.predict(REQUEST, "me")
    here.claims.forget(told.id)
    with pytest.raises(Erased):
        await there.predictor.predict(REQUEST, "me")


async def test_a_silent_machine_s_trackers_are_neither_answered_nor_taken() -> None:
    deployment = Deployment(keeps_replies=True)
    here, there = deployment.process("main"), deployment.process("main", node="there")
    here.engine.gate = asyncio.Event()
    running = asyncio.create_task(here.predictor.predict(REQUEST, "me"))
    await asyncio.sleep(0.01)
    for name, (body, held) in deployment.shared.items():
        deployment.shared[name] = (
            body,
            Held(
                by=held.by, same_body=True, holder=held.holder, standing=held.standing, heard=False
            ),
        )
    with pytest.raises(TrackerUnsettled):
        await there.predictor.predict(REQUEST, "me")
    assert there.engine.requests == []
    here.engine.gate.set()
    await running
