from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.make import a_prediction, finished

from ddx.adapters.delivery_state import SqliteDeliveryState
from ddx.adapters.memory import MemoryJournal
from ddx.adapters.memory_runs import MemoryDeliveryState, MemoryRun, MemoryRuns
from ddx.core.delivery import UNFINISHED, AnswerLost, State
from ddx.core.record import Prediction, PredictionId
from ddx.core.run_draft import RunDraft, draft
from ddx.errors import TrackerUnavailable
from ddx.ports import DeliveryState, Runs
from ddx.services.deliver import Deliverer, undelivered

MOMENTS = ("opened", "sent", "acknowledged")
DOORS = pytest.mark.parametrize("chooses_ids", [False, True], ids=["their ids", "our ids"])


class PowerCut(BaseException):
    """Like kill -9: no `except Exception` may stop it."""


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now_s)

    def monotonic(self) -> float:
        return self.now_s


class World:
    """A journal, MLflow, and whatever survives of a deliverer."""

    def __init__(self, *, chooses_ids: bool = False, state: DeliveryState | None = None) -> None:
        self.journal = MemoryJournal("main")
        self.clock = Clock()
        self.runs = MemoryRuns(chooses_ids=chooses_ids)
        self.state: DeliveryState = state or MemoryDeliveryState()
        self.fatal: str | None = None

    def at(self, moment: str) -> None:
        if moment == self.fatal:
            self.fatal = None
            raise PowerCut

    def deliverer(self, runs: Runs | None = None) -> Deliverer:
        """A new process."""
        return Deliverer(
            journals=lambda: [self.journal],
            runs=runs or self.runs,
            state=self.state,
            clock=self.clock,
            luck=bytes,
            settle_s=60.0,
            at=self.at,
        )

    def keep(self, prediction: Prediction | None = None) -> Prediction:
        prediction = prediction or finished()
        self.journal.accept(prediction, None).result()
        return prediction

    def lose_nothing(self) -> None:
        """Only the process ended."""

    def lose_state(self) -> None:
        """Somebody removed the delivery state."""
        self.state = MemoryDeliveryState()

    def active(self) -> list[RunDraft]:
        return [run.draft for run in self.runs.runs.values() if not run.deleted]


@pytest.fixture(params=["memory", "sqlite"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DeliveryState]:
    made = MemoryDeliveryState() if request.param == "memory" else SqliteDeliveryState(tmp_path)
    yield made
    made.close()


# --- a run for each ---------------------------------------------------------------------


@DOORS
def test_each_finished_prediction_has_its_run_in_the_journals_order(
    chooses_ids: bool, state: DeliveryState
) -> None:
    world = World(chooses_ids=chooses_ids, state=state)
    kept = [world.keep() for _ in range(250)]
    world.journal.accept(a_prediction(), None).result()

    progress = world.deliverer().once()

    assert world.active() == [draft(prediction) for prediction in kept]
    assert progress.acknowledged == len(kept)
    assert progress.quarantined == 0
    assert not list(world.deliverer().waiting())


def test_a_prediction_that_finishes_late_is_delivered_then() -> None:
    world = World()
    slow = a_prediction()
    world.journal.accept(slow, None).result()
    world.keep()
    world.deliverer().once()
    assert len(world.active()) == 1
    world.journal.finish(finished(slow)).result()
    world.deliverer().once()
    assert len(world.active()) == 2


def test_a_dry_run_names_what_waits_and_changes_nothing() -> None:
    world = World()
    kept = [world.keep() for _ in range(3)]
    assert list(world.deliverer().waiting()) == [prediction.id for prediction in kept]
    assert not world.runs.runs


def test_an_erased_record_is_passed_over() -> None:
    world = World()
    erased = world.keep()
    kept = world.keep()
    del world.journal._accepted[erased.id]  # as a reader sees it: left out
    world.deliverer().once()
    assert world.active() == [draft(kept)]


def test_a_journal_that_appears_later_is_delivered_too() -> None:
    world = World()
    journals = [world.journal]
    deliverer = Deliverer(
        journals=lambda: journals,
        runs=world.runs,
        state=world.state,
        clock=world.clock,
        luck=bytes,
    )
    deliverer.once()
    other = MemoryJournal("other")
    other.accept(finished(), None).result()
    journals.append(other)
    deliverer.once()
    assert len(world.active()) == 1


# --- whatever dies ----------------------------------------------------------------------


@DOORS
@pytest.mark.parametrize("fatal", MOMENTS)
def test_a_crash_leaves_exactly_one_run_equal_to_an_undisturbed_one(
    fatal: str, chooses_ids: bool, state: DeliveryState
) -> None:
    world = World(chooses_ids=chooses_ids, state=state)
    kept = [world.keep() for _ in range(3)]
    world.fatal = fatal
    with pytest.raises(PowerCut):
        world.deliverer().once()
    world.deliverer().once()
    assert sorted(world.active(), key=by_id) == [draft(prediction) for prediction in kept]


@DOORS
@given(crashes=st.lists(st.sampled_from(MOMENTS), max_size=12), lost=st.integers(0, 12))
def test_no_sequence_of_crashes_loses_or_doubles_a_run(
    chooses_ids: bool, crashes: list[str], lost: int
) -> None:
    world = World(chooses_ids=chooses_ids)
    kept = [world.keep() for _ in range(4)]
    for number, world.fatal in enumerate(crashes):
        if number == lost:
            world.state = MemoryDeliveryState()
        try:
            world.deliverer().once()
        except PowerCut:
            continue
    world.fatal = None
    world.deliverer().once()
    assert sorted(world.active(), key=by_id) == [draft(prediction) for prediction in kept]


@DOORS
def test_a_lost_state_doubles_nothing(chooses_ids: bool) -> None:
    world = World(chooses_ids=chooses_ids)
    kept = [world.keep() for _ in range(5)]
    world.deliverer().once()
    before = dict(world.runs.runs)
    world.state = MemoryDeliveryState()
    world.deliverer().once()
    assert world.runs.runs == before
    assert len(before) == len(kept)


def test_a_half_filled_run_is_completed_when_the_state_is_lost() -> None:
    world = World()
    kept = world.keep()
    world.fatal = "opened"
    with pytest.raises(PowerCut):
        world.deliverer().once()
    world.state = MemoryDeliveryState()
    world.deliverer().once()
    assert world.active() == [draft(kept)]


@pytest.mark.parametrize("first", [False, True], ids=["to our ids", "to their ids"])
@pytest.mark.parametrize("fatal", [*MOMENTS, None])
def test_changing_doors_doubles_nothing(first: bool, fatal: str | None) -> None:
    world = World(chooses_ids=first)
    kept = [world.keep() for _ in range(5)]
    world.fatal = fatal
    with suppress(PowerCut):
        world.deliverer().once()
    other = MemoryRuns(chooses_ids=not first, runs=world.runs.runs)
    kept.append(world.keep())
    world.deliverer(other).once()
    assert sorted(world.active(), key=by_id) == [draft(prediction) for prediction in kept]


@DOORS
def test_rebuilding_fills_an_empty_mlflow_again(chooses_ids: bool) -> None:
    world = World(chooses_ids=chooses_ids)
    kept = [world.keep() for _ in range(5)]
    world.deliverer().once()
    world.runs.runs.clear()
    deliverer = world.deliverer()
    deliverer.rebuild()
    deliverer.once()
    assert world.active() == [draft(prediction) for prediction in kept]


@DOORS
def test_rebuilding_mends_a_changed_run_and_doubles_nothing(chooses_ids: bool) -> None:
    world = World(chooses_ids=chooses_ids)
    kept = [world.keep() for _ in range(3)]
    world.deliverer().once()
    run = next(iter(world.runs.runs.values()))
    run.draft = replace(run.draft, params={"llm_model": "another"})
    deliverer = world.deliverer()
    deliverer.rebuild()
    deliverer.once()
    assert world.active() == [draft(prediction) for prediction in kept]


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


# --- what others see --------------------------------------------------------------------


def test_the_backlog_is_told_by_its_oldest_record() -> None:
    world = World()
    journal = world.journal
    assert undelivered(journal, 0).oldest is None
    journal.accept(a_prediction(), None).result()
    kept = [world.keep() for _ in range(3)]
    found = undelivered(journal, 0)
    assert found.oldest == kept[0].id
    assert found.records == 3
    world.deliverer().once()
    cursor = world.state.status().cursors[journal.journal_id]
    assert undelivered(journal, cursor).records == 0


@DOORS
def test_notes_are_kept_only_of_what_is_not_done(chooses_ids: bool, state: DeliveryState) -> None:
    world = World(chooses_ids=chooses_ids, state=state)
    for _ in range(300):
        world.keep()
    world.deliverer().once()
    assert not world.state.deliveries(set(State) | UNFINISHED, 1000)


def by_id(one: RunDraft) -> str:
    return one.prediction_id
