"""`ddx optimize`: DSPy's real optimisers, an LLM behind a stub, the store behind a real MLflow."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.dspy_engine.stub import ANSWER, Provider, Says
from tests.cli.conftest import Cli

from ddx.cli.exits import EXIT_CODE

DISEASES = ("Dengue fever", "Malaria", "Measles", "Influenza", "Tetanus", "Cholera")
DIAGNOSES: Any = ANSWER["diagnoses"]
BETTER = "Weigh the sign before all else."


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    path = tmp_path / "twelve.jsonl"
    path.write_text(
        "".join(
            json.dumps(
                {
                    "id": f"{number}{letter}",
                    "case_text": f"Patient {letter} has had fever for 3 days and sign-{number}.",
                    "truth": {"name": name, "ids": []},
                }
            )
            + "\n"
            for number, name in enumerate(DISEASES)
            for letter in "ab"
        )
    )
    return path


def a_learner(body: dict[str, Any]) -> Says:
    """Knows every other disease; with an example or better instructions, all of them."""
    messages = body["messages"]
    last = messages[-1]["content"]
    if "Answer with one JSON object" not in last:  # a question of the optimiser's own
        asked = last.rsplit("Respond with", 1)[-1]
        if "JSON object" in asked:
            return Says(text=json.dumps(dict.fromkeys(re.findall(r"`(\w+)`", asked), BETTER)))
        fields = dict.fromkeys(re.findall(r"\[\[ ## (\w+) ## \]\]", asked))
        return Says(text="\n".join(f"[[ ## {name} ## ]]\n{BETTER}" for name in fields))
    number = int(re.findall(r"sign-(\d)", last)[-1])
    taught = len(messages) > 2 or BETTER in messages[0]["content"]
    name = DISEASES[number] if taught or number % 2 == 0 else "Common cold"
    (usual,) = DIAGNOSES
    return Says(text=json.dumps({**ANSWER, "diagnoses": [{**usual, "diagnosis": name}]}))


def optimized(
    cli: Cli, cases: Path, optimizer: str, out: Path, *more: object
) -> tuple[dict[str, Any], Path]:
    code, said, err = cli(
        "optimize", cases, "--model", "one", "--optimizer", optimizer, "--out", out, "--yes",
        "--json", *more,
    )  # fmt: skip
    assert code == 0, err
    assert "sign-" not in err  # nothing of a case is logged
    return json.loads(said), out / "program.json"


def use(home: Path, program: Path) -> None:
    """Name the program in the registry, as the command says."""
    settings = home / "ddx.toml"
    text = settings.read_text()
    relative = program.relative_to(home)
    settings.write_text(text.replace("[models.one]", f'[models.one]\nprogram = "{relative}"'))


def test_examples_are_compiled_measured_kept_and_sent(
    cli: Cli, cases: Path, stub: Provider, tmp_path: Path
) -> None:
    stub.decide = a_learner
    out = tmp_path / "made"
    found, program = optimized(cli, cases, "bootstrap", out)

    assert stat.S_IMODE(program.stat().st_mode) == 0o600
    assert found["demos"] == 2
    assert not found["instructions_changed"]
    assert found["after"]["top_1"]["value"] == 1.0
    assert found["before"]["top_1"]["value"] < 1.0
    assert found["train"]["cases"] + found["test"]["cases"] == 12
    assert found["compiling"]["failed"] == 0
    assert found == {
        **found,
        **json.loads((out / "provenance.json").read_text()),
    }

    # MLflow has the run, both files, and a version in its registry.
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow_data/mlflow.db")
    run = client.get_run(found["mlflow_run_id"])
    assert run.data.metrics["after/top_1"] == 1.0
    names = {item.path for item in client.list_artifacts(run.info.run_id, "program")}
    assert names == {"program/program.json", "program/provenance.json"}
    (version,) = client.search_model_versions("name = 'ddx-one'")
    assert found["mlflow_model"] == "ddx-one/1"
    assert version.tags["ddx.program_file_digest"] == found["digest"]

    # What the optimiser made is what a prediction sends.
    examples = json.loads(program.read_text())["differential"]["demos"]
    use(tmp_path, program)
    stub.bodies.clear()
    code, _, _ = cli("predict", "--model", "one", "Patient x has had fever for 3 days and sign-3.")
    assert code == 0
    (body,) = stub.bodies
    users = [one["content"] for one in body["messages"] if one["role"] == "user"]
    assert len(users) == 3
    for example, shown in zip(examples, users, strict=False):
        assert example["case"] in shown


@pytest.mark.parametrize("optimizer", ["gepa", "miprov2"])
def test_instructions_are_compiled_and_replace_the_configuration_they_were_made_from(
    cli: Cli, cases: Path, stub: Provider, tmp_path: Path, optimizer: str
) -> None:
    if optimizer == "miprov2":
        pytest.importorskip("optuna", reason="needs the extra `optimize`")
    stub.decide = a_learner
    found, program = optimized(
        cli, cases, optimizer, tmp_path / "made", "--calls", 60, "--demos", 0, "--no-mlflow"
    )
    assert found["instructions_changed"]
    assert found["after"]["top_1"]["value"] == 1.0
    assert found["compiling"]["calls"] <= 60
    assert found["mlflow_run_id"] is None

    use(tmp_path, program)
    prompt = found["prompt_index"]
    other = next(n for n in range(1, 9) if n != prompt)
    for asked, there in ((prompt, True), (other, False)):
        stub.bodies.clear()
        code, _, err = cli(
            "predict", "--model", "one", "Fever for 3 days and sign-3.", "--prompt", asked
        )
        assert code == 0, err
        assert (BETTER in stub.bodies[0]["messages"][0]["content"]) is there


def test_a_split_that_leaves_a_side_empty_is_refused_before_anything_is_asked(
    cli: Cli, cases: Path, stub: Provider
) -> None:
    code, _, err = cli("optimize", cases, "--model", "one", "--limit", 2, "--yes")
    assert code == EXIT_CODE["bad_cases"]
    assert "each side needs" in err
    assert not stub.bodies


def test_what_may_cost_is_asked_about(cli: Cli, cases: Path, stub: Provider) -> None:
    code, _, err = cli("optimize", cases, "--model", "one")
    assert code == EXIT_CODE["not_agreed"]
    assert "questions" in err
    assert not stub.bodies


def test_a_model_that_never_finds_the_truth_teaches_nothing(
    cli: Cli, cases: Path, stub: Provider, tmp_path: Path
) -> None:
    (usual,) = DIAGNOSES
    wrong = {**ANSWER, "diagnoses": [{**usual, "diagnosis": "Common cold"}]}
    stub.script[:] = [Says(text=json.dumps(wrong))]
    out = tmp_path / "made"
    code, _, err = cli("optimize", cases, "--model", "one", "--yes", "--out", out)
    assert code == EXIT_CODE["nothing_learned"]
    assert "no answer with the truth first" in err
    assert not (out / "program.json").exists()


def test_a_provider_that_is_away_is_said(
    cli: Cli, cases: Path, stub: Provider, tmp_path: Path
) -> None:
    stub.script[:] = [Says(status=401)]
    code, _, err = cli("optimize", cases, "--model", "one", "--yes")
    assert code == EXIT_CODE["model_error"]
    assert "was answered" in err


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x80\x04\x95", "pickle"),
        (b"not json", "not JSON"),
        (b'{"lm": null}', "no predictor"),
        (
            b'{"demos": [], "metadata": {"dependency_versions": {"dspy": "2.4.9"}}}',
            "saved by DSPy 2.4.9",
        ),
        (b'{"demos": [{"question": "?", "answer": "!"}]}', "another signature"),
        (b'{"demos": [{"case": "Fever."}]}', "lacks"),
        (b'{"a": {"demos": []}, "b": {"demos": []}}', "2 predictors"),
    ],
)
def test_a_program_that_cannot_be_used_is_refused_with_its_reason_before_the_server_starts(
    cli: Cli, tmp_path: Path, content: bytes, why: str
) -> None:
    program = tmp_path / "theirs.json"
    program.write_bytes(content)
    use(tmp_path, program)
    code, _, err = cli("serve", "--no-deliverer")
    assert code == EXIT_CODE["bad_program"]
    assert why in err
    assert "theirs.json" in err


@pytest.mark.parametrize("version", ["2.5.43", "2.6.27", "3.0.4"])
def test_examples_that_another_dspy_saved_are_sent(
    cli: Cli, stub: Provider, tmp_path: Path, version: str
) -> None:
    example = {"augmented": True, "case": "An earlier case.", **ANSWER}
    state = {
        "traces": [],
        "train": [],
        "demos": [example],
        "signature": {"instructions": "Theirs.", "fields": []},
        "lm": None,
        "metadata": {"dependency_versions": {"python": "3.11", "dspy": version}},
    }
    program = tmp_path / "theirs.json"
    program.write_text(json.dumps(state))
    use(tmp_path, program)
    code, _, err = cli("predict", "--model", "one", "Fever for 3 days.")
    assert code == 0, err
    messages = stub.bodies[0]["messages"]
    assert any("An earlier case." in one["content"] for one in messages)
    # Whose instructions they would replace is not known: the configuration's are sent.
    assert "Theirs." not in messages[0]["content"]
