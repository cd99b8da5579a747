"""Laws of the codec: nothing is lost, equal records have equal digests."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.make import a_prediction, an_answered, finished

from ddx.core import codec
from ddx.core.record import (
    Answered,
    Cancelled,
    Completion,
    Declined,
    EngineAnswer,
    Failed,
    Findings,
    Interrupted,
    Likelihood,
    ModelCall,
    Outcome,
    Prediction,
    Request,
    Setting,
)

texts = st.text(st.characters(exclude_categories=["Cs"]))
maybe = st.none()
wholes = st.integers(min_value=0, max_value=10**6)
numbers = st.floats(min_value=0, max_value=1e6)

requests = st.builds(
    Request,
    case=texts,
    findings=maybe | st.builds(Findings, present=st.lists(texts).map(tuple), sex=maybe | texts),
    model_name=texts,
    prompt_version=maybe | wholes,
    tracker=maybe | texts,
    setting=st.sampled_from(Setting),
    temperature=maybe | numbers,
    max_tokens=maybe | wholes,
    top_k=maybe | wholes,
    top_differential=wholes,
)
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(an_answered, st.lists(texts, min_size=1).map(tuple)),
    st.builds(Declined, reason=texts, further_questions=st.lists(texts).map(tuple)),
    st.builds(Failed, code=texts, message=texts, advice=texts),
    st.just(Cancelled()),
    st.just(Interrupted()),
)
calls = st.builds(
    ModelCall,
    attempt=wholes,
    purpose=texts,
    model=texts,
    sent=st.dictionaries(texts, maybe | texts | wholes | numbers | st.booleans()),
    latency_s=numbers,
    cost_usd=maybe | numbers,
)
completions = st.builds(
    Completion,
    duration_s=maybe | numbers,
    answer=st.builds(EngineAnswer, outcome=outcomes, calls=st.lists(calls, max_size=3).map(tuple)),
    status=wholes,
    body=texts,
)
predictions = st.builds(
    Prediction,
    id=texts,
    received_at=st.datetimes(timezones=st.just(UTC)),
    request=requests,
    instance=texts,
    version=texts,
    salt=texts,
    completion=maybe | completions,
)


@given(predictions)
def test_what_is_decoded_equals_what_was_encoded(record: Any) -> None:
    line = codec.encode(record)
    again = codec.decode(line, Prediction)
    assert again == record
    assert codec.encode(again) == line
    assert "\n" not in line


@given(predictions)
def test_the_artifact_record_json_holds_the_whole_record_and_its_digest(record: Any) -> None:
    line = codec.encode(record)
    again, digest = codec.read_record_json(codec.record_json(line))
    assert again == record
    assert digest == codec.digest(line)


def digest_of(record: Prediction) -> str:
    return codec.digest(codec.encode(record))


def test_a_changed_record_has_another_digest() -> None:
    record = finished()
    assert digest_of(record) != digest_of(replace(record, salt="11" * 16))
    assert digest_of(record) != digest_of(replace(record, instance="other"))


def test_a_record_of_a_newer_program_is_refused() -> None:
    line = json.dumps({**json.loads(codec.encode(a_prediction())), "v": codec.VERSION + 1})
    with pytest.raises(ValueError, match="newer program"):
        codec.decode(line, Prediction)


def test_likelihoods_are_read_back_as_the_five_words() -> None:
    record = codec.decode(codec.encode(finished()), Prediction)
    assert isinstance(record.outcome, Answered)
    assert record.outcome.diagnoses[0].likelihood is Likelihood.MODERATE
