"""Doubles of MLflow and of the delivery state that forget when the process ends."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from ddx.core import ids as core_ids
from ddx.core.delivery import UNFINISHED, Delivery, DeliveryStatus, Place, State
from ddx.core.record import PredictionId
from ddx.core.run_draft import RunDraft
from ddx.errors import DeliveryRefused, TrackerUnavailable
from ddx.ports import FoundRun, Seen


@dataclass(slots=True)
class MemoryRun:
    """One run: `draft.status` is RUNNING until it is whole."""

    draft: RunDraft
    deleted: bool = False


class MemoryRuns:
    """Runs in this process's memory, by either kind of door into the same `runs`."""

    batch = 100

    def __init__(
        self, *, chooses_ids: bool = False, runs: dict[str, MemoryRun] | None = None
    ) -> None:
        self.chooses_ids = chooses_ids
        self.door = "memory, our ids" if chooses_ids else "memory"
        self.runs: dict[str, MemoryRun] = {} if runs is None else runs
        self.trouble: TrackerUnavailable | None = None
        """Set it to make every call fail."""
        self.refused: set[PredictionId] = set()
        """Predictions that are refused."""
        self._numbers = count(1)

    def deliver(
        self, drafts: Sequence[RunDraft], known: Mapping[PredictionId, str]
    ) -> Mapping[PredictionId, DeliveryRefused | None]:
        """Make each run whole; see ports.Runs."""
        self._reach()
        results: dict[PredictionId, DeliveryRefused | None] = {}
        for draft in drafts:
            refused = draft.prediction_id in self.refused
            results[draft.prediction_id] = DeliveryRefused("refused") if refused else None
            if not refused:
                run_id = known.get(draft.prediction_id, core_ids.run_id(draft.prediction_id))
                self.runs[run_id] = MemoryRun(draft)
        return results

    def open(self, draft: RunDraft) -> str:
        """Create the run; see ports.Runs."""
        self._reach()
        if draft.prediction_id in self.refused:
            raise DeliveryRefused("refused")
        run_id = f"run-{next(self._numbers):06}"
        self.runs[run_id] = MemoryRun(
            replace(draft, status="RUNNING", end_ms=None, params={}, metrics={}, files={})
        )
        return run_id

    def fill(self, run_id: str, draft: RunDraft) -> None:
        """Give an existing run everything in its draft."""
        self._reach()
        run = self.runs.get(run_id)
        if run is None or run.deleted:
            raise DeliveryRefused("there is no such run")
        run.draft = draft

    def look_for(self, ids: Iterable[PredictionId]) -> Mapping[PredictionId, tuple[Seen, ...]]:
        """Return the active runs tagged with each id, the one to keep first."""
        self._reach()
        found: dict[PredictionId, list[Seen]] = {}
        wanted = set(ids)
        for run_id, run in self._active():
            if run.draft.prediction_id in wanted:
                whole = run.draft.status != "RUNNING"
                found.setdefault(run.draft.prediction_id, []).append(
                    Seen(run_id=run_id, whole=whole)
                )
        return {
            id: tuple(sorted(seen, key=lambda one: (not one.whole, one.run_id)))
            for id, seen in found.items()
        }

    def all_ids(self) -> Iterator[PredictionId]:
        """Yield the prediction id of every active run."""
        self._reach()
        yield from (run.draft.prediction_id for _, run in self._active())

    def discard(self, run_id: str) -> None:
        """Soft-delete a late twin."""
        self._reach()
        self.runs[run_id].deleted = True

    def read(self, ids: Sequence[PredictionId]) -> Iterator[FoundRun]:
        """Read the active runs of these predictions back."""
        self._reach()
        for run_id, run in self._active():
            if run.draft.prediction_id in ids:
                yield FoundRun(run_id=run_id, draft=run.draft)

    def close(self) -> None:
        """Nothing to let go of."""

    def _active(self) -> Iterator[tuple[str, MemoryRun]]:
        return ((run_id, run) for run_id, run in self.runs.items() if not run.deleted)

    def _reach(self) -> None:
        if self.trouble is not None:
            raise self.trouble


class MemoryDeliveryState:
    """A DeliveryState in this process's memory."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._deliveries: dict[PredictionId, Delivery] = {}
        self._alive_ms = 0
        self._error: tuple[str | None, int] = (None, 0)

    def place(self, journal_id: str) -> Place | None:
        """Return how far a journal is delivered, None where it was never seen."""
        return self._places.get(journal_id)

    def set_place(self, place: Place) -> None:
        """Keep where a journal stands."""
        self._places[place.journal_id] = place

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Keep these as they stand now."""
        self._deliveries |= {one.prediction_id: one for one in deliveries}

    def take(self, delivery: Delivery) -> None:
        """Keep it, and move its journal's cursor up to it."""
        self.put([delivery])
        self._advance(delivery.journal_id, delivery.seq)

    def acknowledge(self, journal_id: str, cursor: int, ids: Sequence[PredictionId] = ()) -> None:
        """Move the cursor to `cursor`, never back, and drop these deliveries."""
        self._advance(journal_id, cursor)
        for id in ids:
            self._deliveries.pop(id, None)

    def deliveries(self, states: Collection[State], limit: int) -> Sequence[Delivery]:
        """Return up to `limit` deliveries in these states, in order of journal and sequence."""
        found = [one for one in self._deliveries.values() if one.state in states]
        return sorted(found, key=lambda one: (one.journal_id, one.seq))[:limit]

    def alive(self, error_code: str | None) -> None:
        """Note progress, or the code of a failure."""
        now_ms = time.time_ns() // 1_000_000
        if error_code != self._error[0]:
            self._error = (error_code, now_ms)
        if error_code is None:
            self._alive_ms = now_ms

    def status(self) -> DeliveryStatus:
        """Return what other processes may know."""
        aside = self.deliveries(UNFINISHED, len(self._deliveries))
        return DeliveryStatus(
            alive_ms=self._alive_ms,
            error_code=self._error[0],
            error_ms=self._error[1],
            aside=len(aside),
            quarantined=len(self.deliveries({State.QUARANTINED}, len(self._deliveries))),
            oldest_aside=min((one.prediction_id for one in aside), default=None),
            cursors={place.journal_id: place.cursor for place in self._places.values()},
        )

    def forget(self) -> None:
        """Forget all deliveries and places."""
        self._places.clear()
        self._deliveries.clear()

    def close(self) -> None:
        """Nothing to let go of."""

    def _advance(self, journal_id: str, cursor: int) -> None:
        place = self._places.get(journal_id)
        if place is not None and cursor > place.cursor:
            self._places[journal_id] = replace(place, cursor=cursor)
