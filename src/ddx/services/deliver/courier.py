"""The way of one run into MLflow, and the notes that let another process go on with it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ddx.core.delivery import Backoff, Delivery, State
from ddx.core.record import PredictionId
from ddx.core.run_draft import RunDraft, epoch_ms
from ddx.errors import AnswerLost, DeliveryRefused, TrackerUnavailable
from ddx.ports import Clock, DeliveryState, Runs, Seen

log = logging.getLogger("ddx")
Moment = Callable[[str], None]

WATCH_S = 600.0
"""How long after a lost answer a late twin is looked for."""
LOOK_S = 2.0
"""Between two looks for a run whose create is in doubt."""
WATCH_EACH_S = 30.0
"""Between two looks for a late twin."""
PATIENCE = 5
"""Failures of one run, while MLflow answers otherwise, before the others go on without it."""
_PARKED = Backoff(first_s=30.0, limit_s=600.0)


@dataclass(slots=True)
class Progress:
    """What a step did."""

    acknowledged: int = 0
    """Runs that are whole in MLflow now."""
    quarantined: int = 0
    passed: int = 0
    """Events of the journals that were passed over, erased records among them."""

    @property
    def idle(self) -> bool:
        """Whether there was nothing to do."""
        return not (self.acknowledged or self.quarantined or self.passed)

    def add(self, other: Progress) -> None:
        """Count what another step did."""
        self.acknowledged += other.acknowledged
        self.quarantined += other.quarantined
        self.passed += other.passed


class Courier:
    """Takes runs through their states. Raises TrackerUnavailable where MLflow is away."""

    def __init__(
        self,
        *,
        runs: Runs,
        state: DeliveryState,
        clock: Clock,
        chance: Callable[[], float],
        settle_s: float,
        at: Moment,
    ) -> None:
        self._runs = runs
        self._state = state
        self._clock = clock
        self._chance = chance
        self._settle_ms = round(settle_s * 1000)
        self._at = at
        self._not_before_s: dict[PredictionId, float] = {}
        """When to look at a delivery again, by the monotonic clock."""

    def new(self, journal_id: str, seq: int, id: PredictionId) -> Delivery:
        """Return the note of a delivery that nothing was done for yet."""
        return Delivery(
            journal_id=journal_id,
            seq=seq,
            prediction_id=id,
            state=State.WAITING,
            changed_ms=self._now_ms(),
        )

    # --- going on with what was begun ---------------------------------------------------

    def due(self, delivery: Delivery) -> bool:
        """Say whether it is time to look at it; always so in a new process."""
        now_s = self._clock.monotonic()
        return self._not_before_s.get(delivery.prediction_id, now_s) <= now_s

    def resume(self, delivery: Delivery, draft: RunDraft, progress: Progress) -> None:
        """Go on with a delivery from where its note says that it stands."""
        if delivery.state is State.OPENED:
            self.fill(delivery, draft, progress)
            return
        found = self._runs.look_for([delivery.prediction_id]).get(delivery.prediction_id)
        if found:
            self.adopt(delivery, found, draft, progress)
        elif delivery.state is State.OPENING and not self._settled(delivery):
            self._wait(delivery, LOOK_S)
        elif self._runs.chooses_ids:
            self._deliver(delivery, draft, progress)
        else:
            if delivery.state is State.OPENING:
                # Its first create seems to be lost for good; should it not be, it is a twin.
                delivery = replace(delivery, error_code=AnswerLost.code)
            self.create(delivery, draft, progress)

    def watch(self, delivery: Delivery) -> None:
        """Discard late twins of a run that is whole, and stop watching in the end."""
        id = delivery.prediction_id
        self.discard(self._runs.look_for([id]).get(id, ())[1:])
        if self._now_ms() - delivery.changed_ms > WATCH_S * 1000:
            self._forget(delivery)
        else:
            self._wait(delivery, WATCH_EACH_S)

    def abandon(self, delivery: Delivery) -> None:
        """Give up a delivery whose record was erased meanwhile, and what is there of its run."""
        id = delivery.prediction_id
        for seen in self._runs.look_for([id]).get(id, ()):
            self._runs.discard(seen.run_id)
        self._forget(delivery)

    # --- the steps ----------------------------------------------------------------------

    def create(self, delivery: Delivery, draft: RunDraft, progress: Progress) -> None:
        """Create the run, where MLflow chooses its id, and fill it."""
        delivery = self._in(delivery, State.OPENING)
        self._state.take(delivery)
        try:
            run_id = self._runs.open(draft)
        except DeliveryRefused as error:
            self.quarantine(delivery, error.code, progress)
            return
        except AnswerLost as error:
            self._state.put([replace(delivery, error_code=error.code)])
            self._wait(delivery, LOOK_S)
            raise
        except TrackerUnavailable as error:
            self._setback(self._in(delivery, State.WAITING), error)
            return
        delivery = replace(self._in(delivery, State.OPENED), run_id=run_id)
        self._state.put([delivery])
        self._at("opened")
        self.fill(delivery, draft, progress)

    def adopt(
        self, delivery: Delivery, found: Sequence[Seen], draft: RunDraft, progress: Progress
    ) -> None:
        """Take the first of these runs for this delivery's, and fill it."""
        self.discard(found[1:])
        delivery = replace(self._in(delivery, State.OPENED), run_id=found[0].run_id)
        self._state.put([delivery])
        self._at("opened")
        self.fill(delivery, draft, progress)

    def fill(self, delivery: Delivery, draft: RunDraft, progress: Progress) -> None:
        """Make an opened run whole."""
        try:
            self._runs.fill(delivery.run_id or "", draft)
        except DeliveryRefused as error:
            self._refused(delivery, error, draft, progress)
            return
        except TrackerUnavailable as error:
            self._setback(delivery, error)
            return
        self._at("sent")
        self._acknowledge(delivery, progress)

    def quarantine(self, delivery: Delivery, code: str, progress: Progress) -> None:
        """Put a delivery aside for good: it never blocks the rest."""
        self._state.put([replace(self._in(delivery, State.QUARANTINED), error_code=code)])
        self._not_before_s.pop(delivery.prediction_id, None)
        progress.quarantined += 1
        _log("delivery quarantined", delivery, code)

    def discard(self, twins: Sequence[Seen]) -> None:
        """Soft-delete late twins."""
        for twin in twins:
            self._runs.discard(twin.run_id)
            log.warning(
                "late twin discarded", extra={"event": "twin_discarded", "run_id": twin.run_id}
            )

    # --- the details --------------------------------------------------------------------

    def _deliver(self, delivery: Delivery, draft: RunDraft, progress: Progress) -> None:
        try:
            refusal = self._runs.deliver([draft], {})[delivery.prediction_id]
        except TrackerUnavailable as error:
            self._setback(delivery, error)
            return
        if refusal is None:
            self._acknowledge(delivery, progress)
        else:
            self.quarantine(delivery, refusal.code, progress)

    def _acknowledge(self, delivery: Delivery, progress: Progress) -> None:
        if delivery.error_code == AnswerLost.code:
            self._state.put([self._in(delivery, State.ACKNOWLEDGED)])
            self._wait(delivery, WATCH_EACH_S)
        else:
            self._forget(delivery)
        progress.acknowledged += 1
        self._at("acknowledged")

    def _forget(self, delivery: Delivery) -> None:
        self._state.acknowledge(delivery.journal_id, 0, [delivery.prediction_id])
        self._not_before_s.pop(delivery.prediction_id, None)

    def _refused(
        self, delivery: Delivery, error: DeliveryRefused, draft: RunDraft, progress: Progress
    ) -> None:
        """A run is refused for what it holds, or because somebody removed it meanwhile."""
        id = delivery.prediction_id
        found = self._runs.look_for([id]).get(id, ())
        delivery = replace(delivery, attempts=delivery.attempts + 1)
        removed = delivery.run_id not in {seen.run_id for seen in found}
        if not removed or delivery.attempts >= PATIENCE:
            self.quarantine(delivery, error.code, progress)
        elif found:
            self.adopt(delivery, found, draft, progress)
        else:
            self._state.put([replace(self._in(delivery, State.WAITING), run_id=None)])

    def _setback(self, delivery: Delivery, error: TrackerUnavailable) -> None:
        """Raise `error`, until it is clear that it is this run's alone: then park it."""
        code = delivery.error_code if delivery.error_code == AnswerLost.code else error.code
        delivery = replace(delivery, error_code=code)
        if not self._answers(delivery.prediction_id):
            self._state.put([delivery])
            raise error
        delivery = replace(delivery, attempts=delivery.attempts + 1)
        self._state.put([delivery])
        if delivery.attempts < PATIENCE:
            raise error
        wait_s = _PARKED.wait_s(delivery.attempts - PATIENCE + 1, self._chance())
        self._wait(delivery, wait_s)
        _log("delivery parked", delivery, error.code)

    def _answers(self, id: PredictionId) -> bool:
        try:
            self._runs.look_for([id])
        except TrackerUnavailable:
            return False
        return True

    def _settled(self, delivery: Delivery) -> bool:
        age_ms = self._now_ms() - delivery.changed_ms
        if age_ms < 0:  # the clock was set back: count anew
            self._state.put([self._in(delivery, delivery.state)])
        return age_ms >= self._settle_ms

    def _in(self, delivery: Delivery, state: State) -> Delivery:
        return replace(delivery, state=state, changed_ms=self._now_ms())

    def _wait(self, delivery: Delivery, wait_s: float) -> None:
        self._not_before_s[delivery.prediction_id] = self._clock.monotonic() + wait_s

    def _now_ms(self) -> int:
        return epoch_ms(self._clock.now())


def _log(message: str, delivery: Delivery, code: str) -> None:
    fields: Mapping[str, object] = {
        "event": message.replace(" ", "_"),
        "prediction_id": delivery.prediction_id,
        "error_code": code,
        "attempts": delivery.attempts,
    }
    log.warning(message, extra=fields)
