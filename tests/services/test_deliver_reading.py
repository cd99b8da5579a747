"""One part is read ahead while another is sent, and never kept when it could be old."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import pytest
from tests.deliver_world import World

from ddx.adapters.memory import MemoryJournal
from ddx.adapters.memory_runs import MemoryRuns
from ddx.core.record import Prediction, PredictionId
from ddx.core.run_draft import RunDraft
from ddx.errors import DeliveryRefused, TrackerUnavailable
from ddx.services.deliver import reading


class Waiting(MemoryRuns):
    """Delivers a batch only when the next one was read."""

    def __init__(self, read: threading.Event) -> None:
        super().__init__(chooses_ids=True)
        self.batch = 2
        self._read = read

    def deliver(
        self, drafts: Sequence[RunDraft], known: Mapping[PredictionId, str]
    ) -> Mapping[PredictionId, DeliveryRefused | None]:
        assert self._read.wait(10), "the next part is not read while this one is sent"
        return super().deliver(drafts, known)


def test_the_next_part_is_read_while_this_one_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    world, read = World(chooses_ids=True), threading.Event()
    kept = [world.keep() for _ in range(4)]
    predictions = MemoryJournal.predictions

    def noted(journal: MemoryJournal, ids: Sequence[PredictionId]) -> Sequence[Prediction]:
        if list(ids) == [kept[-1].id]:
            read.set()
        return predictions(journal, ids)

    monkeypatch.setattr(MemoryJournal, "predictions", noted)
    world.runs = Waiting(read)
    assert world.deliverer().once().acknowledged == len(kept)
    assert len(world.active()) == len(kept)


def test_what_was_read_ahead_is_read_again_after_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(chooses_ids=True)
    world.runs.batch = 2
    kept = [world.keep() for _ in range(4)]
    deliverer = world.deliverer()
    assert deliverer.step().acknowledged == 2
    with monkeypatch.context() as trouble:
        trouble.setattr(world.state, "deliveries", _away)
        with pytest.raises(TrackerUnavailable):
            deliverer.step()
    predictions = world.journal.predictions
    erased = kept[3].id
    monkeypatch.setattr(
        world.journal, "predictions", lambda ids: predictions([i for i in ids if i != erased])
    )
    deliverer.once()
    assert {one.prediction_id for one in world.active()} == {one.id for one in kept[:3]}


def test_a_part_is_no_larger_than_what_fits_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BATCH_CHARS", 1)
    world = World(chooses_ids=True)
    kept = [world.keep() for _ in range(3)]
    parts = []
    deliver = world.runs.deliver

    def noted(drafts: Sequence[RunDraft], known: Mapping[PredictionId, str]) -> object:
        parts.append(len(drafts))
        return deliver(drafts, known)

    monkeypatch.setattr(world.runs, "deliver", noted)
    world.deliverer().once()
    assert parts == [1] * len(kept)


def _away(*_: object) -> None:
    raise TrackerUnavailable
