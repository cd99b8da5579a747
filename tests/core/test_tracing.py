"""The trace of a prediction is a function of its record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.make import CASE, NOON, a_prediction, an_answer, an_answered, finished

from ddx.core.codec import decode, encode
from ddx.core.record import INTERRUPTION, Failed, ModelCall, Prediction, Ranking
from ddx.core.tracing import trace_of

SECRETS = (CASE, "system: …", "SAID BY THE MODEL", "Dengue", "fever")


def a_call(attempt: int, start_s: float | None, latency_s: float, **changes: Any) -> ModelCall:
    plain = replace(
        an_answer().calls[0],
        attempt=attempt,
        output="SAID BY THE MODEL",
        latency_s=latency_s,
        started_at=None if start_s is None else NOON + timedelta(seconds=start_s),
    )
    return replace(plain, **changes)


def with_calls(*calls: ModelCall, **changes: Any) -> Prediction:
    return finished(calls=calls, **changes)


def test_a_prediction_has_a_span_for_itself_each_attempt_and_the_reading() -> None:
    done = with_calls(
        a_call(1, 0.1, 0.2, output=None, error="LMServerError", input_tokens=None),
        a_call(2, 0.5, 0.6, model_answered="local-1", finish_reason="stop", request_id="r-7"),
        unsupported_quotes=2,
    )
    root, first, second, read = trace_of(done, content=False).spans
    assert [one.name for one in (root, first, second, read)] == [
        "prediction",
        "chat openai/local",
        "chat openai/local",
        "read and ground",
    ]
    assert {one.parent for one in (first, second, read)} == {root.id}
    start = round(NOON.timestamp() * 1e9)
    assert (root.start_ns - start, root.end_ns - start) == (0, 1_250_000_000)
    assert (first.start_ns - start, first.end_ns - start) == (100_000_000, 300_000_000)
    assert (second.start_ns - start, second.end_ns - start) == (500_000_000, 1_100_000_000)
    assert (read.start_ns, read.end_ns) == (second.end_ns, root.end_ns)
    assert (first.error, first.attributes["error.type"]) == ("LMServerError", "LMServerError")
    assert "gen_ai.usage.input_tokens" not in first.attributes
    assert dict(second.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "local",
        "gen_ai.response.model": "local-1",
        "gen_ai.response.id": "r-7",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.request.temperature": 0.7,
        "ddx.attempt": 2,
        "ddx.purpose": "predict",
        "ddx.cost_usd": 0.001,
    }
    assert read.attributes["ddx.unsupported_quotes"] == 2
    assert read.attributes["ddx.diagnoses"] == 2


def test_no_text_of_a_case_an_answer_or_a_prompt_is_in_it_unless_asked_for() -> None:
    done = with_calls(a_call(1, 0.1, 0.2))
    assert not [text for text in SECRETS if text in repr(trace_of(done, content=False))]
    told = repr(trace_of(done, content=True))
    assert [text for text in SECRETS if text not in told] == []


def test_the_same_record_gives_the_same_trace_also_after_a_round_trip() -> None:
    done = with_calls(a_call(1, 0.1, 0.2))
    again = decode(encode(done), Prediction)
    assert trace_of(again, content=True) == trace_of(done, content=True)
    other = trace_of(finished(), content=True)
    assert other.id != trace_of(done, content=True).id
    spans = trace_of(done, content=True).spans
    assert len({one.id for one in spans}) == len(spans)


def test_the_trace_carries_the_digits_of_the_predictions_id() -> None:
    done = finished()
    assert trace_of(done, content=False).id == done.id.replace("-", "")


def test_calls_of_which_no_start_is_known_follow_each_other_and_say_so() -> None:
    done = with_calls(a_call(1, None, 0.25), a_call(2, None, 0.5))
    root, first, second, _ = trace_of(done, content=False).spans
    assert first.start_ns == root.start_ns
    assert second.start_ns == first.end_ns == root.start_ns + 250_000_000
    assert second.attributes["ddx.start_unknown"] is True


def test_no_span_leaves_the_prediction_whatever_the_clock_did() -> None:
    done = with_calls(a_call(1, -3600.0, 0.5), a_call(2, 3600.0, 0.5))
    root, *others = trace_of(done, content=False).spans
    assert all(root.start_ns <= one.start_ns <= one.end_ns <= root.end_ns for one in others)


def test_a_failure_is_an_error_with_its_code_and_nothing_was_read() -> None:
    failed = Failed(code="model_error", message="…")
    root, call = trace_of(with_calls(a_call(1, 0.1, 0.2), outcome=failed), content=False).spans
    assert (root.error, root.attributes["error.type"]) == ("model_error", "model_error")
    assert call.error is None


def test_an_interrupted_prediction_has_a_trace_without_a_length() -> None:
    (root,) = trace_of(a_prediction().completed(INTERRUPTION), content=True).spans
    assert (root.error, root.start_ns) == ("interrupted", root.end_ns)


def test_where_no_llm_was_asked_there_is_the_prediction_alone() -> None:
    (root,) = trace_of(finished(calls=()), content=False).spans
    assert "ddx.llm_attempts" not in root.attributes


def test_beside_a_knowledge_engine_no_time_of_reading_is_claimed() -> None:
    done = with_calls(a_call(1, 0.1, 0.2), rankings=(Ranking(engine="llm"),))
    assert [one.name for one in trace_of(done, content=False).spans] == [
        "prediction",
        "chat openai/local",
    ]


def test_an_unfinished_prediction_has_no_trace() -> None:
    with pytest.raises(ValueError, match="no outcome"):
        trace_of(a_prediction(), content=False)


def test_a_diagnosis_is_no_attribute() -> None:
    done = finished(outcome=an_answered(("Rare disease of one family",)))
    assert "Rare disease" not in repr(trace_of(done, content=False))
