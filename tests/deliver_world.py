"""A world for tests of delivery: a journal, MLflow, and deliverers that die."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.make import finished

from ddx.adapters.memory import MemoryJournal
from ddx.adapters.memory_runs import MemoryDeliveryState, MemoryRuns
from ddx.core.record import Prediction
from ddx.core.run_draft import RunDraft
from ddx.ports import DeliveryState, Runs
from ddx.services.deliver import Deliverer

MOMENTS = ("opened", "sent", "acknowledged")


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


def by_id(one: RunDraft) -> str:
    return one.prediction_id
