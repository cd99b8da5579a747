"""Traces are sent from the journal, in order, and again where nobody knows whether they came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from tests.make import a_feedback, finished

from ddx.adapters.memory import MemoryJournal
from ddx.core.assessing import Assessment, assessments
from ddx.core.feedback import PROBLEM, Reason, Verdict
from ddx.core.record import Prediction, PredictionId
from ddx.core.tracing import Trace
from ddx.errors import DeliveryRefused, TracesUnavailable
from ddx.services.trace import BATCH, Tracer


class Sink:
    """Where traces go: knows each by its id."""

    name = "sink"

    def __init__(self, *, linked: bool = False) -> None:
        self.linked = linked
        self.traces: dict[str, Trace] = {}
        self.links: dict[PredictionId, str] = {}
        self.sent = 0
        self.trouble: Exception | None = None
        self.lost = False
        self.refused: str | None = None
        self.said: dict[str, dict[str, object]] = {}

    def send(self, traces: Sequence[Trace], run_ids: Mapping[PredictionId, str]) -> None:
        if self.trouble:
            raise self.trouble
        if self.refused in {one.prediction_id for one in traces}:
            raise DeliveryRefused
        self.traces |= {one.id: one for one in traces}
        self.links |= run_ids
        self.sent += len(traces)
        if self.lost:
            self.lost = False
            raise TracesUnavailable

    def assess(self, trace_id: str, said: Sequence[Assessment]) -> None:
        assert trace_id in self.traces
        self.said[trace_id] = {one.key: one.value for one in said}


class Places:
    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], int] = {}

    def cursor(self, sink: str, journal_id: str) -> int:
        return self.kept.get((sink, journal_id), 0)

    def move(self, sink: str, journal_id: str, cursor: int) -> None:
        self.kept[sink, journal_id] = cursor


def a_journal(count: int) -> tuple[MemoryJournal, list[Prediction]]:
    journal, made = MemoryJournal("main"), [finished() for _ in range(count)]
    for one in made:
        journal.accept(one, None).result()
    return journal, made


def test_each_prediction_has_one_trace_however_many_there_are() -> None:
    journal, made = a_journal(BATCH + 7)
    sink = Sink()
    tracer = Tracer(journals=lambda: [journal], traces=sink, places=Places())
    assert tracer.once() == len(made)
    assert [one.prediction_id for one in sink.traces.values()] == [one.id for one in made]
    assert tracer.once() == 0
    assert sink.sent == len(made)


def test_after_a_lost_answer_the_same_traces_are_sent_again_to_the_same_ids() -> None:
    journal, made = a_journal(3)
    sink, places = Sink(), Places()
    sink.lost = True
    with pytest.raises(TracesUnavailable):
        Tracer(journals=lambda: [journal], traces=sink, places=places).once()
    # Another process, with what is left of the first one.
    Tracer(journals=lambda: [journal], traces=sink, places=places).once()
    assert sink.sent == 2 * len(made)
    assert len(sink.traces) == len(made)


def test_where_the_other_side_is_away_nothing_is_passed_over() -> None:
    journal, made = a_journal(2)
    sink, places = Sink(), Places()
    sink.trouble = TracesUnavailable()
    tracer = Tracer(journals=lambda: [journal], traces=sink, places=places)
    with pytest.raises(TracesUnavailable):
        tracer.once()
    assert places.kept == {}
    sink.trouble = None
    assert tracer.once() == len(made)


def test_a_trace_that_is_refused_does_not_keep_the_others_back() -> None:
    journal, made = a_journal(9)
    sink = Sink()
    sink.refused = made[4].id
    Tracer(journals=lambda: [journal], traces=sink, places=Places()).once()
    assert {one.prediction_id for one in sink.traces.values()} == {
        one.id for place, one in enumerate(made) if place != 4
    }


def test_a_trace_waits_for_its_run_and_is_linked_to_it() -> None:
    journal, made = a_journal(3)
    sink = Sink(linked=True)
    coming = {made[1].id}
    tracer = Tracer(
        journals=lambda: [journal],
        traces=sink,
        places=Places(),
        run_ids=lambda ids: {id: f"run of {id}" for id in ids},
        coming=lambda journal, events: coming,
    )
    assert tracer.once() == 1
    assert tracer.once() == 0
    coming.clear()
    assert tracer.once() == 2
    assert sink.links == {one.id: f"run of {one.id}" for one in made}


def test_feedback_comes_to_its_trace_whenever_it_was_given() -> None:
    journal, (first, second) = a_journal(2)
    journal.add_feedback(first.id, a_feedback(outcome=Verdict.ACCEPTED)).result()
    sink, places = Sink(), Places()
    tracer = Tracer(journals=lambda: [journal], traces=sink, places=places)
    tracer.once()
    journal.add_feedback(first.id, a_feedback(outcome=Verdict.OVERRIDDEN)).result()
    journal.add_feedback(second.id, a_feedback(outcome=None, true_diagnosis="Malaria")).result()
    tracer.once()
    one, other = (sink.said[id.replace("-", "")] for id in (first.id, second.id))
    assert (one["1.accepted"], one["2.accepted"]) == (True, False)
    assert other == {"1.true_diagnosis_rank": 2}


def test_assessments_hold_no_words_unless_content_is_wanted() -> None:
    said = a_feedback(
        outcome=Verdict.OVERRIDDEN,
        true_diagnosis="Gout",
        comment="CANARY",
        override_reason=Reason(code=PROBLEM),
    )
    found = assessments(finished(), [said], content=False)
    assert {one.name: one.value for one in found} == {
        "accepted": False,
        "problem": True,
        "true_diagnosis_rank": 0,
    }
    assert "CANARY" not in str(found)
    *_, truth = assessments(finished(), [said], content=True)
    assert (truth.name, truth.value, truth.expected) == ("true_diagnosis", "Gout", True)
    assert truth.comment == "CANARY"
