"""`ddx predict`: where the case comes from, and what is printed of the outcome."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ddx.cli import run
from ddx.cli.exits import EXIT_CODE
from ddx.core.record import (
    Answered,
    Code,
    Completion,
    Declined,
    Diagnosis,
    EngineAnswer,
    Evidence,
    Failed,
    Likelihood,
    Outcome,
    Prediction,
    PredictionId,
    Request,
)
from ddx.settings import Settings

DENGUE = Answered(
    diagnoses=(
        Diagnosis(
            name="Dengue fever",
            likelihood=Likelihood.HIGH,
            codes=(Code(system="MONDO", code="MONDO:0005502", display="dengue disease"),),
            supporting=(
                Evidence(finding="Fever", quote="fever", start=0, end=5),
                Evidence(finding="Petechiae", quote="petechial rash", start=6, end=20),
            ),
            contradicting=(Evidence(finding="Cough"),),
            urgency="urgent",
        ),
        Diagnosis(name="Malaria", likelihood=Likelihood.MODERATE),
    ),
    conclusion="Dengue is most likely.",
    further_questions=("Any travel?",),
)
Asked = list[Request]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Outcome], Asked]:
    """Put an outcome in the place of the engine; the requests that it got are returned."""
    monkeypatch.setenv("DDX_HOME", str(tmp_path))

    def answers(outcome: Outcome) -> Asked:
        requests: Asked = []

        def predict(settings: Settings, request: Request) -> Prediction:
            requests.append(request)
            return Prediction(
                id=PredictionId("019b76da-a800-7000-8000-000000000000"),
                received_at=datetime(2026, 1, 1, tzinfo=UTC),
                request=request,
                instance="main",
                version="0",
                salt="0" * 32,
                completion=Completion(
                    duration_s=0.1,
                    answer=EngineAnswer(outcome=outcome),
                    status=200,
                    body='{"status": "success"}',
                ),
            )

        monkeypatch.setattr("ddx.wiring.serving.predict", predict)
        return requests

    return answers


def test_a_ranking_is_readable(
    asked: Callable[[Outcome], Asked], capsys: pytest.CaptureFixture[str]
) -> None:
    asked(DENGUE)

    assert run(["predict", "fever petechial rash"]) == 0

    assert capsys.readouterr().out == (
        " 1. Dengue fever  [High]  MONDO:0005502\n"
        '    for: Fever; Petechiae ("petechial rash")\n'
        "    against: Cough\n"
        "    urgency: urgent\n"
        " 2. Malaria  [Moderate]\n"
        "\nDengue is most likely.\n"
        "\nAsk:\n  - Any travel?\n"
    )


def test_json_is_the_body_that_the_server_would_send(
    asked: Callable[[Outcome], Asked], capsys: pytest.CaptureFixture[str]
) -> None:
    asked(DENGUE)

    assert run(["predict", "fever", "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == {"status": "success"}


def test_a_case_comes_from_an_argument_a_file_or_standard_input(
    asked: Callable[[Outcome], Asked], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = asked(DENGUE)
    (tmp_path / "case.txt").write_text("fièvre from a file\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("fever from stdin"))

    assert run(["predict", "fever"]) == 0
    assert run(["predict", "-f", str(tmp_path / "case.txt")]) == 0
    assert run(["predict"]) == 0

    cases = [request.case for request in requests]
    assert cases == ["fever", "fièvre from a file\n", "fever from stdin"]


def test_a_phenopacket_is_a_case(asked: Callable[[Outcome], Asked]) -> None:
    requests = asked(DENGUE)
    packet = {"phenotypicFeatures": [{"type": {"id": "HP:0001945"}}]}

    assert run(["predict", json.dumps(packet)]) == 0
    assert run(["predict", '{"phenotypicFeatures": [1]}']) == 10

    (request,) = requests
    assert request.findings is not None
    assert (request.case, request.findings.present) == ("", ("HP:0001945",))


def test_options_reach_the_request_and_the_default_model_fills_in(
    asked: Callable[[Outcome], Asked],
) -> None:
    requests = asked(DENGUE)

    run(["predict", "fever"])
    run(["predict", "fever", "--model", "gpt-4o", "--prompt", "2", "--top", "10"])

    assert requests == [
        Request(case="fever", model_name="knowledge", top_differential=5),
        Request(case="fever", model_name="gpt-4o", prompt_version=2, top_differential=10),
    ]


@pytest.mark.parametrize("case", ["", "  \n", "a" * 50_001])
def test_a_case_that_is_empty_or_too_long_asks_no_model(
    case: str, asked: Callable[[Outcome], Asked], capsys: pytest.CaptureFixture[str]
) -> None:
    requests = asked(DENGUE)

    assert run(["predict", case]) == EXIT_CODE["invalid_request"]

    assert requests == []
    assert capsys.readouterr().err.startswith("error: the case ")


def test_a_file_that_is_no_text_is_an_invalid_request(
    asked: Callable[[Outcome], Asked], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked(DENGUE)
    (tmp_path / "case.bin").write_bytes(b"\xff\xfe\x00")

    code = run(["predict", "-f", str(tmp_path / "case.bin")])

    assert code == EXIT_CODE["invalid_request"]
    assert "not UTF-8" in capsys.readouterr().err


def test_two_cases_at_once_are_wrong_usage(
    asked: Callable[[Outcome], Asked], tmp_path: Path
) -> None:
    asked(DENGUE)
    (tmp_path / "case.txt").write_text("fever")

    assert run(["predict", "fever", "-f", str(tmp_path / "case.txt")]) == 2


def test_too_little_detail_is_an_answer(
    asked: Callable[[Outcome], Asked], capsys: pytest.CaptureFixture[str]
) -> None:
    asked(Declined(reason="no finding was recognised", missing_information=("age",)))

    assert run(["predict", "hello"]) == 0

    shown = capsys.readouterr().out
    assert shown == "Too little detail: no finding was recognised\n\nMissing:\n  - age\n"


def test_a_failed_prediction_ends_with_the_code_of_its_error(
    asked: Callable[[Outcome], Asked], capsys: pytest.CaptureFixture[str]
) -> None:
    asked(
        Failed(code="model_not_configured", message="GEMINI_API_KEY is not set.", advice="Set it.")
    )

    code = run(["predict", "fever", "--model", "gemini-2.0-flash"])

    assert code == EXIT_CODE["model_not_configured"]
    said = capsys.readouterr()
    assert said.err == "error: GEMINI_API_KEY is not set.\nadvice: Set it.\n"
    assert said.out == ""
