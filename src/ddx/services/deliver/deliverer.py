"""From the journals to the courier: batches in the journals' order, again and again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event as Signal

from ddx.core.chain import Kind
from ddx.core.delivery import UNFINISHED, Backoff, Delivery, Place, State
from ddx.core.record import PredictionId
from ddx.core.run_draft import RunDraft, draft
from ddx.errors import (
    DdxError,
    Erased,
    JournalDamaged,
    JournalUnavailable,
    PredictionNotFound,
    TrackerUnavailable,
)
from ddx.ports import Clock, DeliveryState, Event, JournalReader, Runs
from ddx.services.deliver.backlog import DELIVERED
from ddx.services.deliver.courier import Courier, Moment, Progress

log = logging.getLogger("ddx")

SETTLE_S = 60.0
"""How long a create whose answer was lost may still be carried out. MLflow waits up to 20 s for
a locked SQLite file and 30 s for a connection of its pool."""
BATCH_CHARS = 16 * 2**20
"""Characters of text held in memory at a time."""
GATHER_S = 0.4
"""Wait after all there was is delivered, so that the next batch is a larger one: each costs syncs
that the server's own wait behind, and processor time that it needs."""
_ALL = 1_000_000
"""Notes are few: a delivery has one while it is under way, in doubt or refused."""


@dataclass(frozen=True, slots=True)
class _Item:
    """One finished prediction of a journal, with its run."""

    seq: int
    draft: RunDraft
    again: bool = False
    """Its run may be there and lack what was said since: it is looked for, and filled again."""

    @property
    def id(self) -> PredictionId:
        return self.draft.prediction_id


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
        backoff: Backoff = Backoff(limit_s=30.0),  # noqa: B008  (frozen)
        at: Moment = lambda name: None,  # noqa: ARG005
        back: Callable[[], None] = lambda: None,
    ) -> None:
        """`journals` is asked at each step: another server may start with one of its own.

        `at` is called at the moments `opened`, `sent` and `acknowledged`; `back` by `run`, when
        MLflow answers again after it did not.
        """
        self._journals = journals
        self._runs = runs
        self._state = state
        self._luck = luck
        self._backoff = backoff
        # Each prediction has two: accepted, finished.
        self._events = runs.batch * 2
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
            self._resume({journal.journal_id: journal for journal in journals}, progress)
            damage = [self._next_of(journal, progress) for journal in journals]
            for error in filter(None, damage):
                raise error
        except DdxError as error:
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
            refused = progress.quarantined
            item = self._item(journal, delivery.seq, delivery.prediction_id, progress)
            if item is not None:
                self._courier.resume(delivery, item.draft, progress)
            elif progress.quarantined == refused:
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
        events = journal.events(place.cursor, self._events)
        for part, items in self._parts(journal, events, progress):
            self._deliver(place, items, progress)
            self._state.acknowledge(journal.journal_id, part[-1].seq)
            progress.passed += len(part)
            if items and self._runs.chooses_ids:
                self._at("acknowledged")

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

    def _parts(
        self, journal: JournalReader, events: Sequence[Event], progress: Progress
    ) -> Iterator[tuple[Sequence[Event], Sequence[_Item]]]:
        """Yield parts of `events` with what they finished, small enough to hold in memory."""
        start, size = 0, 0
        items: dict[PredictionId, _Item] = {}
        for end, event in enumerate(events, start=1):
            if event.kind not in DELIVERED:
                continue
            item = self._item(journal, event.seq, event.prediction_id, progress)
            if item is None:
                continue
            if event.kind is Kind.FEEDBACK:
                item = replace(item, again=True)
            # One draft of each: the later has all that was said.
            items.pop(item.id, None)
            items[item.id] = item
            size += sum(map(len, item.draft.files.values()))
            if size >= BATCH_CHARS:
                yield events[start:end], [*items.values()]
                start, size, items = end, 0, {}
        if start < len(events):
            yield events[start:], [*items.values()]

    def _item(
        self, journal: JournalReader, seq: int, id: PredictionId, progress: Progress
    ) -> _Item | None:
        """Return what an event finished; None where it is erased, or cannot be read."""
        try:
            found = journal.predictions([id])
            if not found:
                return None
            return _Item(seq, draft(found[0], journal.feedback_of(id)))
        except Erased:
            return None
        except (JournalDamaged, PredictionNotFound) as error:
            note = self._courier.new(journal.journal_id, seq, id)
            self._courier.quarantine(note, error.code, progress)
            return None

    def _deliver(self, place: Place, items: Sequence[_Item], progress: Progress) -> None:
        """Bring these into MLflow, but for those that are whole there already."""
        items, notes = self._without_the_pending(items)
        doubtful = [item.id for item in items if item.again or item.seq <= place.look_below]
        found = self._runs.look_for(doubtful) if doubtful else {}
        missing = []
        for item in items:
            seen = found.get(item.id, ())
            self._courier.discard(seen[1:])
            trusted = item.seq > place.resend_below and not item.again
            if trusted and seen and seen[0].whole:
                progress.acknowledged += 1
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
        self, items: Sequence[_Item]
    ) -> tuple[Sequence[_Item], Mapping[PredictionId, Delivery]]:
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
        items: Sequence[_Item],
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
