"""`ddx models`, `ddx prompts` and `ddx config`: what they say of a given home."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from tests.adapters.dspy_engine.stub import Says, provider

from ddx.cli import run
from ddx.cli.exits import EXIT_CODE


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, without any key."""
    monkeypatch.setenv("DDX_HOME", str(tmp_path))
    for name in ("GEMINI_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _json(capsys: pytest.CaptureFixture[str], *args: str) -> object:
    assert run([*args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def _models(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    found = _json(capsys, "models")
    assert isinstance(found, list)
    return {model["name"]: model for model in found}


def test_a_model_without_its_key_says_which_variable_is_missing(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _models(capsys)["gemini-2.0-flash"]
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    after = _models(capsys)["gemini-2.0-flash"]

    assert (before["answers_now"], before["why_not"]) == (False, "no key in GEMINI_API_KEY")
    assert (after["answers_now"], after["why_not"]) == (True, None)


def test_the_knowledge_engine_answers_out_of_the_box_and_is_the_default(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _models(capsys)

    assert found["knowledge"]["answers_now"] is True
    assert [name for name, model in found.items() if model["default"]] == ["knowledge"]
    assert run(["models"]) == 0
    assert "knowledge*" in capsys.readouterr().out


def test_a_model_served_on_this_machine_answers_only_while_something_listens(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        (home / "ddx.toml").write_text(f'[models.local]\napi_base = "{url}"\n')
        assert _models(capsys)["local"]["answers_now"] is True
    assert _models(capsys)["local"]["why_not"] == f"nothing listens at {url}"


def test_each_llm_is_listed_with_its_hybrid_which_needs_the_same_key(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    found = _models(capsys)
    assert found["gemini-2.0-flash+knowledge"]["why_not"] == "no key in GEMINI_API_KEY"
    assert found["gpt-4o+knowledge"]["answers_now"] is True
    assert "knowledge+knowledge" not in found


def test_the_instant_model_needs_the_benchmark_switch(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _models(capsys)["instant"]["why_not"] == "needs bench_models = true"
    monkeypatch.setenv("DDX_BENCH_MODELS", "1")
    assert _models(capsys)["instant"]["answers_now"] is True


def test_a_prompt_is_listed_by_its_digest_and_shown_by_its_index(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "ddx.toml").write_text('[prompts.7]\nname = "mine"\ntext = "Say what it is."\n')

    listed = _json(capsys, "prompts")
    assert isinstance(listed, list)
    # sha256 of the text, 12 digits
    assert {"index": 7, "name": "mine", "digest": "0dd4e708e591"} in listed
    assert run(["prompts", "7"]) == 0
    assert capsys.readouterr().out == "Say what it is.\n"


def test_an_unknown_prompt_is_an_error(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["prompts", "99"]) == EXIT_CODE["unknown_prompt"]
    assert "no prompt configuration 99" in capsys.readouterr().err


def test_config_names_the_origin_of_each_value_and_masks_passwords(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "ddx.toml").write_text("port = 8001\n")
    (home / "mlflow_server_config.py").write_text('db_uri = "postgresql://u:s3cret@h/d"\n')
    monkeypatch.setenv("DDX_MLFLOW_PORT", "5001")

    shown = _json(capsys, "config")

    assert isinstance(shown, dict)
    assert shown["home"] == str(home)
    found = {row["name"]: (row["value"], row["origin"]) for row in shown["settings"]}
    assert found["port"] == (8001, "ddx.toml")
    assert found["mlflow_port"] == (5001, "DDX_MLFLOW_PORT")
    assert found["host"] == ("127.0.0.1", "default")
    assert found["db_uri"] == ("postgresql+psycopg://u:********@h/d", "mlflow_server_config.py")
    assert run(["config"]) == 0
    assert "s3cret" not in capsys.readouterr().out


def test_each_model_that_could_answer_is_asked(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with provider() as stub:
        (home / "ddx.toml").write_text(
            f"[models.good]\nengine = 'dspy'\nllm = 'openai/good'\napi_base = '{stub.url}'\n"
            f"[models.bad]\nengine = 'dspy'\nllm = 'openai/bad'\napi_base = '{stub.url}'\n"
            "attempts = 1\n[prices.'openai/good']\ninput = 1\noutput = 1\n"
        )
        stub.decide = lambda body: Says(status=500) if body["model"] == "bad" else Says()
        assert run(["models", "--check", "--json"]) == 1
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}

    assert found["knowledge"]["ok"] is True
    assert (found["good"]["ok"], found["good"]["model_answered"]) == (True, "stub-1")
    assert found["good"]["cost_usd"] == pytest.approx(120 / 1e6)
    assert found["bad"]["ok"] is False
    assert "HTTP 500" in found["bad"]["why_not"]
    assert "gemini-2.0-flash" not in found
