from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from tests.deliver_world import PowerCut, World, by_id

from ddx.adapters.memory_runs import MemoryRun, MemoryRuns
from ddx.core.delivery import State
from ddx.core.record import PredictionId
from ddx.core.run_draft import RunDraft, draft
from ddx.errors import AnswerLost, TrackerUnavailable
from ddx.ports import DeliveryState

DOORS = pytest.mark.parametrize("chooses_ids", [False, True], ids=["their ids", "our ids"])


# --- an answer that was lost ------------------------------------------------------------


class LosesAnswers(MemoryRuns):
    """MLflow's answers to a create are lost; what was asked is done, later or never."""

    def __init__(self, carried_out: str) -> None:
        super().__init__()
        self.carried_out = carried_out
        self.creates = 0
        self.late: list[RunDraft] = []

    def open(self, draft: RunDraft) -> str:
        self.creates += 1
        if self.carried_out == "no more":
            return super().open(draft)
        if self.carried_out == "at once":
            super().open(draft)
        if self.carried_out == "late":
            self.late.append(draft)
        self.carried_out = "no more"
        raise AnswerLost("creating a run: INTERNAL_ERROR")

    def arrive(self) -> None:
        for one in self.late:
            self.runs["a-late-one"] = MemoryRun(replace(one, status="RUNNING"))


def test_a_run_whose_answer_was_lost_is_found_and_filled() -> None:
    world = World()
    world.runs = runs = LosesAnswers("at once")
    kept = world.keep()
    deliverer = world.deliverer()
    with pytest.raises(AnswerLost):
        deliverer.once()
    world.clock.now_s += 5
    deliverer.once()
    assert runs.creates == 1
    assert world.active() == [draft(kept)]


@pytest.mark.parametrize("carried_out", ["at once", "late", "never"])
def test_a_crash_within_a_create_leaves_one_run_in_the_end(carried_out: str) -> None:
    class DiesWithin(LosesAnswers):
        def open(self, draft: RunDraft) -> str:
            try:
                return super().open(draft)
            except AnswerLost:
                raise PowerCut from None

    world = World()
    world.runs = runs = DiesWithin(carried_out)
    kept = world.keep()
    with pytest.raises(PowerCut):
        world.deliverer().once()
    for _ in range(3):
        world.deliverer().once()
        world.clock.now_s += 25
    runs.arrive()
    for _ in range(2):
        world.deliverer().once()
        world.clock.now_s += 61
    assert world.active() == [draft(kept)]
    assert runs.creates == (2 if carried_out == "never" else 1)


def test_a_create_is_repeated_only_when_the_first_can_no_longer_happen() -> None:
    world = World()
    world.runs = runs = LosesAnswers("never")
    kept = [world.keep(), world.keep()]
    with pytest.raises(AnswerLost):
        world.deliverer().once()
    world.deliverer().once()
    assert world.active() == [draft(kept[1])], "the other one does not wait"
    world.clock.now_s += 61
    world.deliverer().once()
    assert runs.creates == 3
    assert sorted(world.active(), key=by_id) == [draft(prediction) for prediction in kept]


def test_a_late_twin_is_discarded() -> None:
    world = World()
    world.runs = runs = LosesAnswers("late")
    kept = world.keep()
    deliverer = world.deliverer()
    with pytest.raises(AnswerLost):
        deliverer.once()
    world.clock.now_s += 61
    deliverer.once()
    runs.arrive()
    assert len(world.active()) == 2
    world.clock.now_s += 31
    world.deliverer().once()
    assert world.active() == [draft(kept)]
    world.clock.now_s += 3600
    world.deliverer().once()
    assert not world.state.deliveries(set(State), 10), "it is not watched for ever"


def test_a_clock_that_was_set_back_only_lengthens_the_wait() -> None:
    world = World()
    world.runs = runs = LosesAnswers("never")
    world.keep()
    with pytest.raises(AnswerLost):
        world.deliverer().once()
    world.clock.now_s -= 7200
    world.deliverer().once()
    assert runs.creates == 1
    world.clock.now_s += 61
    world.deliverer().once()
    assert runs.creates == 2
    assert len(world.active()) == 1


# --- trouble ----------------------------------------------------------------------------


@DOORS
def test_while_mlflow_is_away_nothing_moves_and_the_order_stays(chooses_ids: bool) -> None:
    world = World(chooses_ids=chooses_ids)
    kept = [world.keep() for _ in range(4)]
    world.runs.trouble = TrackerUnavailable()
    for _ in range(20):
        with pytest.raises(TrackerUnavailable):
            world.deliverer().once()
    assert world.state.status().error_code == "mlflow_unavailable"
    world.runs.trouble = None
    world.deliverer().once()
    assert world.active() == [draft(prediction) for prediction in kept]
    assert world.state.status().error_code is None


@DOORS
def test_a_poisoned_record_is_quarantined_and_blocks_no_other(
    chooses_ids: bool, state: DeliveryState
) -> None:
    world = World(chooses_ids=chooses_ids, state=state)
    kept = [world.keep() for _ in range(5)]
    world.runs.refused = {kept[2].id}
    progress = world.deliverer().once()
    assert (progress.acknowledged, progress.quarantined) == (4, 1)
    status = world.state.status()
    assert (status.quarantined, status.aside) == (1, 0)
    (row,) = world.state.deliveries({State.QUARANTINED}, 10)
    assert (row.prediction_id, row.error_code) == (kept[2].id, "delivery_refused")

    world.runs.refused = set()
    assert world.deliverer().once().idle, "only on request"
    deliverer = world.deliverer()
    assert deliverer.retry_quarantined() == 1
    deliverer.once()
    assert len(world.active()) == 5
    assert world.state.status().quarantined == 0


class FailsFor(MemoryRuns):
    """MLflow answers 500 for one run, and is well otherwise."""

    id = PredictionId("")

    def fill(self, run_id: str, draft: RunDraft) -> None:
        if draft.prediction_id == self.id:
            raise TrackerUnavailable("filling a run: INTERNAL_ERROR")
        super().fill(run_id, draft)


def test_a_run_that_alone_fails_again_and_again_blocks_no_other() -> None:
    world = World()
    world.runs = runs = FailsFor()
    bad = world.keep()
    runs.id = bad.id
    good = [world.keep() for _ in range(3)]
    deliverer = world.deliverer()
    for _ in range(4):
        with pytest.raises(TrackerUnavailable):
            deliverer.once()
    deliverer.once()
    assert [one for one in world.active() if one.status != "RUNNING"] == list(map(draft, good))
    runs.id = PredictionId("")
    world.clock.now_s += 601
    deliverer.once()
    assert len(world.active()) == 4
    assert all(one.status != "RUNNING" for one in world.active())


def test_a_run_that_somebody_removed_half_made_is_made_anew() -> None:
    world = World()
    kept = world.keep()
    world.fatal = "opened"
    with pytest.raises(PowerCut):
        world.deliverer().once()
    world.runs.runs.clear()
    world.deliverer().once()
    world.deliverer().once()
    assert world.active() == [draft(kept)]


def test_delivery_goes_on_by_itself_when_mlflow_is_back() -> None:
    world = World(chooses_ids=True)
    world.runs.trouble = TrackerUnavailable()
    stop = threading.Event()
    thread = threading.Thread(target=world.deliverer().run, args=(stop, 0.01))
    thread.start()
    try:
        world.keep()
        world.runs.trouble = None
        end = threading.Event()
        for _ in range(500):
            if world.active() or end.wait(0.01):
                break
        assert len(world.active()) == 1
    finally:
        stop.set()
        thread.join(5)
    assert not thread.is_alive()
