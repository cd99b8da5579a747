"""From the journals to the courier: batches in the journals' order, again and again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Event as Signal

from ddx.core.chain import Kind
from ddx.core.delivery import UNFINISHED, Backoff, Delivery, Place, State
from ddx.core.record import PredictionId
from ddx.errors import DdxError, JournalDamaged, JournalUnavailable, TrackerUnavailable
from ddx.ports import Clock, DeliveryState, Event, JournalReader, Runs
from ddx.services.deliver.courier import Courier, Moment, Progress
from ddx.services.deliver.reading import Item, Reading, Unreadable, read

log = logging.getLogger("ddx")
Archived = Callable[[Sequence[PredictionId]], Mapping[PredictionId, int]]

SETTLE_S = 60.0
"""How long a create whose answer was lost may still be carried out. MLflow waits up to 20 s for
a locked SQLite file and 30 s for a connection of its pool."""
GATHER_S = 0.4
"""Wait after all there was is delivered, so that the next batch is a larger one: each costs syncs
that the server's own wait behind, and processor time that it needs."""
_ALL = 1_000_000
"""Notes are few: a delivery has one while it is under way, in doubt or refused."""


class Deliverer:
    """Delivers journals through one door. The only one that uses its delivery state."""

    def __init__(
        self,
        *,
        journals: Callable[[], Sequence[JournalReader]],
        runs: Runs,
        state: DeliveryState,
        clock: Clock,
        luck: Callable[[int], bytes],
        settle_s: float = SETTLE_S,
        archived: Archived = lambda ids: {},  # noqa: ARG005
        backoff: Backoff = Backoff(limit_s=30.0),  # noqa: B008  (frozen)
        at: Moment = lambda name: None,  # noqa: ARG005
        back: Callable[[], None] = lambda: None,
    ) -> None:
        """`journals` is asked at each step: another server may start with one of its own.

        `archived` says of each prediction whose run is archived how often something had been said
        of it then. `at` is called at the moments `opened`, `sent` and `acknowledged`; `back` by
        `run`, when MLflow answers again after it did not.
        """
        self._journals = journals
        self._runs = runs
        self._state = state
        self._luck = luck
        self._backoff = backoff
        self._archived = archived
        # Each prediction has two: accepted, finished.
        self._events = runs.batch * 2
        self._reading = Reading(self._events)
        self._at = at
        self._back = back
        self._courier = Courier(
            runs=runs, state=state, clock=clock, chance=self._chance, settle_s=settle_s, at=at
        )

    def run(self, stop: Signal, poll_s: float = 0.1) -> None:
        """Deliver until `stop` is set. Where MLflow is away, wait ever longer and go on."""
        failures = 0
        while not stop.is_set():
            try:
                progress = self.step()
            except (TrackerUnavailable, JournalUnavailable, JournalDamaged) as error:
                failures += 1
                wait_s = self._backoff.wait_s(failures, self._chance())
                _log_trouble(error, failures, wait_s)
                stop.wait(wait_s)
                continue
            if failures:
                log.info("delivery goes on", extra={"event": "delivery_resumed"})
                self._back()
            failures = 0
            if progress.idle:
                stop.wait(poll_s)
            elif progress.passed < self._events:
                stop.wait(GATHER_S)
        self._reading.forget()

    def once(self) -> Progress:
        """Deliver all that can be delivered now. Raises TrackerUnavailable, JournalUnavailable.

        What is in doubt stays so: `waiting` tells.
        """
        total = Progress()
        while not (progress := self.step()).idle:
            total.add(progress)
        return total

    def step(self) -> Progress:
        """Deliver one batch: first what is under way, then the next of each journal.

        Raises TrackerUnavailable and JournalUnavailable; then it can be repeated.
        """
        progress = Progress()
        try:
            journals = self._journals()
            by_id = {journal.journal_id: journal for journal in journals}
            self._reading.keep_to(by_id)
            self._resume(by_id, progress)
            damage = [self._next_of(journal, progress) for journal in journals]
            for error in filter(None, damage):
                raise error
        except DdxError as error:
            self._reading.forget()
            self._state.alive(error.code)
            raise
        self._state.alive(None)
        return progress

    def rebuild(self) -> None:
        """Forget what was delivered: every run is looked for, and made or filled again."""
        places = [
            Place(
                journal_id=journal.journal_id,
                door=self._runs.door,
                look_below=journal.last_seq(),
                resend_below=journal.last_seq(),
            )
            for journal in self._journals()
        ]
        self._state.forget()
        for place in places:
            self._state.set_place(place)

    def retry_quarantined(self) -> int:
        """Try again what MLflow refused; return how many."""
        refused = self._state.deliveries({State.QUARANTINED}, _ALL)
        self._state.put([replace(one, state=State.WAITING, attempts=0) for one in refused])
        return len(refused)

    # --- what is under way --------------------------------------------------------------

    def _resume(self, journals: Mapping[str, JournalReader], progress: Progress) -> None:
        for delivery in self._state.deliveries(UNFINISHED | {State.ACKNOWLEDGED}, _ALL):
            journal = journals.get(delivery.journal_id)
            if journal is None or not self._courier.due(delivery):
                continue
            if delivery.state is State.ACKNOWLEDGED:
                self._courier.watch(delivery)
                continue
            event = Event(
                seq=delivery.seq, kind=Kind.FINISHED, prediction_id=delivery.prediction_id
            )
            item = read(journal, event)
            if isinstance(item, Item):
                self._courier.resume(delivery, item.draft, progress)
            elif item is not None:
                self._put_aside(journal, item, progress)
            else:
                self._courier.abandon(delivery)

    # --- the next of a journal ----------------------------------------------------------

    def _next_of(self, journal: JournalReader, progress: Progress) -> JournalDamaged | None:
        """Deliver a journal's next batch; damage in one journal is no reason to leave another."""
        try:
            self._next(journal, progress)
        except JournalDamaged as error:
            return error
        return None

    def _next(self, journal: JournalReader, progress: Progress) -> None:
        place = self._place(journal)
        cursor, passed = place.cursor, 0
        while passed < self._events:
            part = self._reading.part(journal, cursor)
            if not part.events:
                return
            cursor, passed = part.events[-1].seq, passed + len(part.events)
            if part.more:
                self._reading.look_ahead(journal, cursor)
            for one in part.unreadable:
                self._put_aside(journal, one, progress)
            self._deliver(place, list(part.items.values()), progress)
            self._state.acknowledge(journal.journal_id, cursor)
            progress.passed += len(part.events)
            if part.items and self._runs.chooses_ids:
                self._at("acknowledged")
            if not part.more:
                return

    def _place(self, journal: JournalReader) -> Place:
        place = self._state.place(journal.journal_id)
        if place is not None and place.door == self._runs.door:
            return place
        # Another door, or a state that was lost, may have made runs that we know nothing of.
        place = replace(
            place or Place(journal_id=journal.journal_id, door=""),
            door=self._runs.door,
            look_below=journal.last_seq(),
        )
        self._state.set_place(place)
        return place

    def _put_aside(self, journal: JournalReader, one: Unreadable, progress: Progress) -> None:
        note = self._courier.new(journal.journal_id, one.event.seq, one.event.prediction_id)
        self._courier.quarantine(note, one.error_code, progress)

    def _deliver(self, place: Place, items: Sequence[Item], progress: Progress) -> None:
        """Bring these into MLflow, but for those that are whole there already."""
        items, notes = self._without_the_pending(items)
        doubtful = [item.id for item in items if item.again or item.seq <= place.look_below]
        found = self._runs.look_for(doubtful) if doubtful else {}
        # Another door, a lost state or a rebuild is no reason to bring back what was archived.
        archived = self._archived([id for id in doubtful if id not in found])
        missing = []
        for item in items:
            seen = found.get(item.id, ())
            self._courier.discard(seen[1:])
            trusted = item.seq > place.resend_below and not item.again
            if trusted and seen and seen[0].whole:
                progress.acknowledged += 1
            elif item.seq <= place.look_below and archived.get(item.id) == item.said:
                continue
            else:
                missing.append(item)
        if self._runs.chooses_ids:
            known = {id: seen[0].run_id for id, seen in found.items()}
            self._deliver_together(place.journal_id, missing, known, progress)
            return
        for item in missing:
            note = self._courier.new(place.journal_id, item.seq, item.id)
            if item.id in notes:
                # Its late twin is still watched for, and will be.
                note = replace(notes[item.id], seq=item.seq)
            if item.id in found:
                self._state.take(note)
                self._courier.adopt(note, found[item.id][:1], item.draft, progress)
            else:
                self._courier.create(note, item.draft, progress)

    def _without_the_pending(
        self, items: Sequence[Item]
    ) -> tuple[Sequence[Item], Mapping[PredictionId, Delivery]]:
        """Leave out the feedback whose prediction is under way, in doubt or refused: when that
        goes on, it reads what was said too. Return also the notes of runs that are whole.
        """
        if not any(item.again for item in items):
            return items, {}
        noted = {one.prediction_id: one for one in self._state.deliveries(frozenset(State), _ALL)}
        whole = {id: one for id, one in noted.items() if one.state is State.ACKNOWLEDGED}
        return [i for i in items if not i.again or i.id not in noted or i.id in whole], whole

    def _deliver_together(
        self,
        journal_id: str,
        items: Sequence[Item],
        known: Mapping[PredictionId, str],
        progress: Progress,
    ) -> None:
        if not items:
            return
        self._at("opened")
        results = self._runs.deliver([item.draft for item in items], known)
        self._at("sent")
        for item in items:
            refusal = results[item.id]
            if refusal is None:
                progress.acknowledged += 1
            else:
                note = self._courier.new(journal_id, item.seq, item.id)
                self._courier.quarantine(note, refusal.code, progress)

    def _chance(self) -> float:
        return int.from_bytes(self._luck(4)) / 2**32


def _log_trouble(error: DdxError, failures: int, wait_s: float) -> None:
    log.warning(
        "delivery waits",
        extra={
            "event": "delivery_waits",
            "error_code": error.code,
            "reason": str(error),
            "failures": failures,
            "wait_s": round(wait_s, 2),
        },
    )
