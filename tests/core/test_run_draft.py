"""The run of a prediction, as the contract names its parts."""

from __future__ import annotations

import pytest
from tests.make import CASE, a_prediction, a_request, an_answer, an_answered, finished

from ddx.core.codec import decode, encode
from ddx.core.record import (
    INTERRUPTION,
    Completion,
    Declined,
    Failed,
    Interrupted,
    LlmSettings,
    Prediction,
)
from ddx.core.run_draft import VALUE_LIMIT, draft

PARAMS = {
    "model_name",
    "case_length",
    "llm_model",
    "llm_max_tokens",
    "llm_temperature",
    "llm_top_k",
    "prompt_config_index",
}
ARTIFACTS = {
    "input_case.txt",
    "prompt_used.txt",
    "raw_dspy_output.txt",
    "final_response.txt",
    "record.json",
}


def test_an_answered_run_has_every_param_metric_and_file() -> None:
    run = draft(finished())
    assert run.status == "FINISHED"
    assert set(run.params) == PARAMS
    assert run.params["case_length"] == str(len(CASE))
    assert run.params["llm_temperature"] == "0.7"
    assert run.metrics == {
        "success": 1.0,
        "processing_time": 1.25,
        "input_tokens": 100.0,
        "output_tokens": 20.0,
        "cost_usd": 0.001,
        "llm_time": 0.5,
        "llm_attempts": 1.0,
        "diagnoses": 2.0,
    }
    assert set(run.files) == ARTIFACTS
    assert run.files["input_case.txt"] == CASE
    assert run.end_ms == run.start_ms + 1250


def test_a_declined_case_is_a_success() -> None:
    run = draft(finished(outcome=Declined(reason="no findings")))
    assert (run.status, run.metrics["success"]) == ("FINISHED", 1.0)
    assert run.tags["ddx.outcome"] == "insufficient_information"


def test_a_failed_run_says_its_code_and_keeps_what_came_to_exist() -> None:
    failed = Failed(code="model_error", message="The provider answered 500.")
    run = draft(finished(outcome=failed, raw_output=None))
    assert (run.status, run.metrics["success"]) == ("FAILED", 0.0)
    assert run.tags["ddx.error_code"] == "model_error"
    assert set(run.files) == ARTIFACTS - {"raw_dspy_output.txt"}


def test_an_interrupted_run_is_killed_and_has_no_duration() -> None:
    run = draft(a_prediction().completed(INTERRUPTION))
    assert (run.status, run.end_ms) == ("KILLED", None)
    assert run.metrics == {"success": 0.0}
    assert set(run.files) == {"input_case.txt", "record.json"}
    assert set(run.params) == PARAMS


def test_settings_that_do_not_exist_are_none_and_unknown_cost_is_absent() -> None:
    run = draft(finished(settings=LlmSettings(), calls=()))
    assert run.params["llm_model"] == run.params["llm_top_k"] == "none"
    assert "cost_usd" not in run.metrics
    assert "input_tokens" not in run.metrics


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    from dataclasses import replace

    known = an_answer().calls[0]
    run = draft(finished(calls=(known, replace(known, attempt=2, cost_usd=None))))
    assert "cost_usd" not in run.metrics
    assert run.metrics["input_tokens"] == 200.0


def test_a_draft_does_not_depend_on_a_round_trip() -> None:
    record = finished()
    assert draft(decode(encode(record), Prediction)) == draft(record)


def test_params_and_tags_hold_no_control_characters_and_are_short() -> None:
    request = a_request(model_name="a\x00b\n" * 200, tracker="t\x01")
    run = draft(finished(a_prediction(request=request)))
    assert all(len(v) <= VALUE_LIMIT for v in run.params.values())
    assert not any(ord(c) < 32 for v in (*run.params.values(), *run.tags.values()) for c in v)


def test_the_digest_of_equal_cases_differs_by_salt() -> None:
    plain = a_prediction()
    one = draft(finished(plain)).tags["ddx.digest"]
    from dataclasses import replace

    assert draft(finished(replace(plain, salt="22" * 16))).tags["ddx.digest"] != one


def test_an_unfinished_record_has_no_run() -> None:
    with pytest.raises(ValueError, match="no outcome"):
        draft(a_prediction())


def test_the_outcome_words_are_the_contracts() -> None:
    outcomes = (an_answered(), Declined(reason=""), Failed(code="x", message=""), Interrupted())
    runs = [
        draft(
            a_prediction().completed(
                Completion(duration_s=1.0, answer=an_answer(o), status=200, body="{}")
            )
        )
        for o in outcomes
    ]
    assert [r.tags["ddx.outcome"] for r in runs] == [
        "answered",
        "insufficient_information",
        "failed",
        "interrupted",
    ]
