from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.deliver_world import MOMENTS, PowerCut, World, by_id
from tests.make import a_feedback, a_prediction, finished

from ddx.adapters.memory import MemoryJournal
from ddx.adapters.memory_runs import MemoryDeliveryState, MemoryRuns
from ddx.core.delivery import State
from ddx.core.run_draft import draft
from ddx.ports import DeliveryState
from ddx.services.deliver import Deliverer, undelivered, waiting

DOORS = pytest.mark.parametrize("chooses_ids", [False, True], ids=["their ids", "our ids"])


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
    assert not list(waiting([world.journal], world.state))


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
    assert list(waiting([world.journal], world.state)) == [prediction.id for prediction in kept]
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
    assert not world.state.deliveries(set(State), 1000)


# --- what was said afterwards ----------------------------------------------------------


@DOORS
def test_feedback_reaches_the_run_that_is_there_and_makes_no_other(
    chooses_ids: bool, state: DeliveryState
) -> None:
    world = World(chooses_ids=chooses_ids, state=state)
    early, late = world.keep(), world.keep()
    said = [a_feedback(), a_feedback(true_diagnosis="Zika")]
    world.journal.add_feedback(early.id, said[0]).result()  # before any delivery
    world.deliverer().once()
    assert world.active() == [draft(late), draft(early, said[:1])] or world.active() == [
        draft(early, said[:1]),
        draft(late),
    ]

    world.journal.add_feedback(early.id, said[1]).result()
    world.journal.add_feedback(late.id, said[0]).result()
    assert list(waiting([world.journal], world.state)) == [early.id, late.id]
    world.deliverer().once()

    wanted = [draft(early, said), draft(late, said[:1])]
    assert sorted(world.active(), key=by_id) == wanted
    assert wanted[0].tags["ddx.true_diagnosis"] == "Zika"
    assert wanted[0].tags["ddx.digest"] == draft(early).tags["ddx.digest"]
    assert not list(waiting([world.journal], world.state))


@DOORS
@pytest.mark.parametrize("fatal", MOMENTS)
def test_feedback_survives_a_death_at_each_moment(fatal: str, chooses_ids: bool) -> None:
    world = World(chooses_ids=chooses_ids)
    kept = world.keep()
    world.deliverer().once()
    world.journal.add_feedback(kept.id, a_feedback()).result()
    world.fatal = fatal
    with suppress(PowerCut):
        world.deliverer().once()
    world.deliverer().once()
    assert world.active() == [draft(kept, [a_feedback()])]


def test_feedback_of_a_refused_run_waits_with_it() -> None:
    world = World()
    kept = world.keep()
    world.runs.refused = {kept.id}
    world.deliverer().once()
    world.journal.add_feedback(kept.id, a_feedback()).result()
    world.deliverer().once()
    assert not world.active()
    assert [one.state for one in world.state.deliveries({State.QUARANTINED}, 9)]
    world.runs.refused = set()
    deliverer = world.deliverer()
    assert deliverer.retry_quarantined() == 1
    deliverer.once()
    assert world.active() == [draft(kept, [a_feedback()])]
