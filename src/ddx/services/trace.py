"""Send the traces of finished predictions, from the journals, never in a request's way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Event as Signal

from ddx.core.assessing import assessments
from ddx.core.chain import Kind
from ddx.core.delivery import Backoff
from ddx.core.record import Prediction, PredictionId
from ddx.core.tracing import Trace, trace_id, trace_of
from ddx.errors import (
    DdxError,
    DeliveryRefused,
    JournalDamaged,
    PredictionNotFound,
)
from ddx.ports import Event, JournalReader, TracePlaces, Traces

log = logging.getLogger("ddx")
BATCH = 100
"""Events that are read at a time; each prediction has two."""

RunIds = Callable[[Sequence[PredictionId]], Mapping[PredictionId, str]]
"""Predictions to the runs of those that have one."""
Coming = Callable[[JournalReader, Sequence[Event]], Collection[PredictionId]]
"""Which of these events' predictions have no run yet and will still get one."""


class Tracer:
    """Sends traces to one place, in the order of each journal. Belongs to one thread.

    The cursor moves after a batch is taken. A process that dies before sends it again, with the
    same ids.
    """

    def __init__(
        self,
        *,
        journals: Callable[[], Sequence[JournalReader]],
        traces: Traces,
        places: TracePlaces,
        run_ids: RunIds = lambda ids: {},  # noqa: ARG005
        coming: Coming = lambda journal, events: (),  # noqa: ARG005
        content: bool = False,
        chance: Callable[[], float] = lambda: 0.5,
    ) -> None:
        """`run_ids` and `coming` are asked where the place links traces to runs."""
        self._journals = journals
        self._traces = traces
        self._places = places
        self._run_ids = run_ids
        self._coming = coming
        self._content = content
        self._chance = chance
        self._backoff = Backoff(limit_s=60.0)

    def run(self, stop: Signal, poll_s: float = 1.0) -> None:
        """Send until `stop` is set. Where the other side is away, wait ever longer and go on."""
        failures = 0
        while not stop.is_set():
            try:
                sent = self.step()
            except DdxError as error:
                failures += 1
                wait_s = self._backoff.wait_s(failures, self._chance())
                log.warning(
                    "traces wait",
                    extra={
                        "event": "traces_wait",
                        "to": self._traces.name,
                        "error_code": error.code,
                        "reason": str(error),
                        "failures": failures,
                    },
                )
                stop.wait(wait_s)
                continue
            failures = 0
            if not sent:
                stop.wait(poll_s)

    def once(self) -> int:
        """Send all that can be sent now; return how many. Raises what `step` raises."""
        total = 0
        while sent := self.step():
            total += sent
        return total

    def step(self) -> int:
        """Send the next of each journal; return how many traces were sent.

        Raises TracesUnavailable, TrackerUnavailable and JournalUnavailable; it can be repeated.
        """
        return sum(self._next(journal) for journal in self._journals())

    def _next(self, journal: JournalReader) -> int:
        sink, id = self._traces.name, journal.journal_id
        cursor = self._places.cursor(sink, id)
        sent = 0
        # On over events that finish nothing: a caller takes "none" for "all is sent".
        while not sent:
            events = self._ready(journal, journal.events(cursor, BATCH))
            if not events:
                break
            traces = _traces_of(journal, events, content=self._content)
            self._send(traces)
            self._assess(journal, events)
            sent, cursor = len(traces), events[-1].seq
            self._places.move(sink, id, cursor)
        return sent

    def _assess(self, journal: JournalReader, events: Sequence[Event]) -> None:
        """Add what was said of traces that are there: a prediction is finished before it is."""
        spoken_of = {one.prediction_id: None for one in events if one.kind is Kind.FEEDBACK}
        for id in spoken_of:
            for one in _found(journal, id):
                said = assessments(one, journal.feedback_of(id), content=self._content)
                try:
                    self._traces.assess(trace_id(id), said)
                except DeliveryRefused as error:
                    extra = {
                        "event": "assessment_refused",
                        "prediction_id": id,
                        "reason": str(error),
                    }
                    log.warning("assessment refused", extra=extra)

    def _ready(self, journal: JournalReader, events: Sequence[Event]) -> Sequence[Event]:
        """Return the events up to the first whose run is still to come."""
        if not self._traces.linked:
            return events
        finished = [one for one in events if one.kind is Kind.FINISHED]
        coming = set(self._coming(journal, finished))
        for place, event in enumerate(events):
            if event.kind is Kind.FINISHED and event.prediction_id in coming:
                return events[:place]
        return events

    def _send(self, traces: Sequence[Trace]) -> None:
        """Send together; where that is refused, halve, until what is refused stands alone."""
        if not traces:
            return
        ids = [trace.prediction_id for trace in traces]
        try:
            self._traces.send(traces, self._run_ids(ids) if self._traces.linked else {})
        except DeliveryRefused as error:
            if len(traces) == 1:
                log.warning(
                    "trace refused",
                    extra={
                        "event": "trace_refused",
                        "to": self._traces.name,
                        "prediction_id": ids[0],
                        "reason": str(error),
                    },
                )
                return
            middle = len(traces) // 2
            self._send(traces[:middle])
            self._send(traces[middle:])


def _traces_of(journal: JournalReader, events: Sequence[Event], *, content: bool) -> list[Trace]:
    finished = [one.prediction_id for one in events if one.kind is Kind.FINISHED]
    return [trace_of(one, content=content) for id in finished for one in _found(journal, id)]


def _found(journal: JournalReader, id: PredictionId) -> Sequence[Prediction]:
    """Return the record, or nothing where it is erased or cannot be read: delivery says that."""
    try:
        return [one for one in journal.predictions([id]) if one.completion is not None]
    except (JournalDamaged, PredictionNotFound):
        return []
