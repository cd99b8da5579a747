"""Traces beside the delivery, from settings."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial

from ddx import __version__
from ddx.adapters.delivery_state import DeliveryStatusReader
from ddx.adapters.otlp import OtlpTraces, encode
from ddx.adapters.system import luck
from ddx.adapters.trace_places import TracePlacesFile
from ddx.core.delivery import UNFINISHED
from ddx.core.record import PredictionId
from ddx.errors import DdxError
from ddx.ports import Event, JournalReader, Runs, TracePlaces, Traces
from ddx.services.trace import Tracer
from ddx.settings import Settings
from ddx.wiring.doors import Journals, door

log = logging.getLogger("ddx")
_OTLP_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
_JOIN_S = 10.0


@contextmanager
def tracing(settings: Settings) -> Iterator[None]:
    """Send traces in threads of their own, so that they keep no run waiting."""
    stop = threading.Event()
    places = _shared_places(settings)
    threads = [
        threading.Thread(target=_run, args=(settings, sink, places, stop), daemon=True)
        for sink in _sinks(settings)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=_JOIN_S)


def trace_once(settings: Settings) -> int:
    """Send all traces that can be sent now; return how many.

    What cannot be sent is logged, and sent another time: runs do not depend on it.
    """
    places = _shared_places(settings)
    total = 0
    for sink in _sinks(settings):
        try:
            with _tracer(settings, sink, places, threading.Event()) as tracer:
                total += tracer.once()
        except DdxError as error:
            log.warning(
                "traces wait", extra={"event": "traces_wait", "to": sink, "reason": str(error)}
            )
    return total


def wanted(settings: Settings) -> bool:
    """Whether traces are sent anywhere."""
    return bool(_sinks(settings))


def _sinks(settings: Settings) -> list[str]:
    sinks = ["mlflow"] if settings.tracing == "mlflow" else []
    return [*sinks, "otlp"] if settings.otlp_endpoint else sinks


def _run(settings: Settings, sink: str, places: TracePlaces, stop: threading.Event) -> None:
    with _tracer(settings, sink, places, stop) as tracer:
        tracer.run(stop)


@contextmanager
def _tracer(
    settings: Settings, sink: str, places: TracePlaces, stop: threading.Event
) -> Iterator[Tracer]:
    """Make a tracer with readers and a door of its own: neither is for several threads."""
    with closing(Journals(settings)) as journals:
        if sink == "otlp":
            headers = settings.environment.get(_OTLP_HEADERS, "")
            traces: Traces = OtlpTraces(settings.otlp_endpoint, headers, __version__)
            yield _new(settings, journals, traces, places)
            return
        from ddx.adapters.mlflow_runs import MlflowTraces

        ours = settings.artifacts_path if not settings.tracking_uri else None
        with closing(door(settings, stop)) as runs:
            coded = partial(encode, version=__version__)
            traces = MlflowTraces(settings.mlflow_uri, ours, coded, settings.experiments_in)
            yield _new(settings, journals, traces, places, runs)


def _new(
    settings: Settings,
    journals: Journals,
    traces: Traces,
    places: TracePlaces,
    runs: Runs | None = None,
) -> Tracer:
    state = DeliveryStatusReader(settings.data)

    def run_ids(ids: Sequence[PredictionId]) -> Mapping[PredictionId, str]:
        found = runs.look_for(ids) if runs is not None else {}
        return {id: seen[0].run_id for id, seen in found.items()}

    return Tracer(
        journals=journals,
        traces=traces,
        places=places,
        run_ids=run_ids,
        coming=partial(coming, state),
        content=settings.trace_content,
        chance=lambda: int.from_bytes(luck(4)) / 2**32,
    )


def coming(
    state: DeliveryStatusReader, journal: JournalReader, events: Sequence[Event]
) -> Collection[PredictionId]:
    """Return the predictions that delivery has not come to, or has not done with."""
    place = state.place(journal.journal_id)
    cursor = place.cursor if place is not None else 0
    # Read after the cursor: a delivery is noted with the cursor's move over it, not later.
    aside = {one.prediction_id for one in state.deliveries(UNFINISHED, 1_000_000)}
    return {one.prediction_id for one in events if one.seq > cursor or one.prediction_id in aside}


class _LockedPlaces:
    """TracePlaces for several threads."""

    def __init__(self, places: TracePlaces) -> None:
        self._places = places
        self._lock = threading.Lock()

    def cursor(self, sink: str, journal_id: str) -> int:
        with self._lock:
            return self._places.cursor(sink, journal_id)

    def move(self, sink: str, journal_id: str, cursor: int) -> None:
        with self._lock:
            self._places.move(sink, journal_id, cursor)


def _shared_places(settings: Settings) -> TracePlaces:
    return _LockedPlaces(TracePlacesFile(settings.data))
