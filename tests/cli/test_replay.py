"""`ddx replay`: logged cases asked again, by a model behind a stub."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from tests.adapters.dspy_engine.stub import Provider, Says
from tests.cli.conftest import Cli

from ddx.adapters.sqlite_journal import SqliteJournalReader
from ddx.cli.exits import EXIT_CODE
from ddx.core.record import PredictionId
from ddx.core.run_draft import draft

CASE = "A 24-year-old man has had fever for 3 days, and joint pain."


def listing(*names: str) -> Says:
    entries = [{"diagnosis": name, "likelihood": "High"} for name in names]
    return Says(text=json.dumps({"diagnoses": entries}))


@pytest.fixture
def logged(cli: Cli, stub: Provider) -> str:
    """The id of a case in the journal."""
    stub.script = [listing("Dengue fever", "Malaria", "Measles")]
    code, out, _ = cli("predict", CASE, "--model", "one", "--json")
    assert code == 0
    return str(json.loads(out)["prediction_id"])


def test_both_rankings_stand_side_by_side_with_their_moves(
    cli: Cli, stub: Provider, logged: str
) -> None:
    stub.script = [listing("Malaria", "Dengue fever", "Zika")]

    code, out, _ = cli("replay", logged, "--model", "two", "--temperature", "0", "--prompt", "3")

    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0].startswith(f"before {logged} one, prompt 0, ")
    assert ", two" not in lines[0]
    assert " two, prompt 3, temperature 0.0, " in lines[1]
    assert lines[3:7] == [
        "rank before now after move",
        "1 Dengue fever 2 Malaria up 1",
        "2 Malaria 1 Dengue fever down 1",
        "3 Measles gone Zika new",
    ]
    assert stub.bodies[-1]["temperature"] == 0


def test_a_replay_is_a_prediction_of_its_own_linked_to_the_old(
    cli: Cli, stub: Provider, logged: str, tmp_path: Path
) -> None:
    code, out, _ = cli("replay", logged, "--top", "2", "--json")

    (found,) = json.loads(out)
    assert code == 0
    assert found["replay_of"] == logged != found["prediction_id"]
    assert found["same_first"] is True
    with closing(SqliteJournalReader(tmp_path / "ddx_data", "main-cli-1")) as reader:
        old, new = reader.predictions([PredictionId(logged), PredictionId(found["prediction_id"])])
    assert new.replay_of == old.id
    assert (new.request.case, new.request.top_differential) == (CASE, 2)
    assert draft(new).tags["ddx.replay_of"] == logged
    assert "ddx.replay_of" not in draft(old).tags


def test_a_new_prediction_that_fails_is_shown_and_ends_with_1(
    cli: Cli, stub: Provider, logged: str
) -> None:
    stub.script = [Says(status=400)]

    code, out, _ = cli("replay", logged)

    assert code == 1
    assert "model_error" in out
    assert "gone" in out


def test_nothing_is_asked_where_an_id_or_the_change_is_wrong(
    cli: Cli, stub: Provider, logged: str
) -> None:
    asked = len(stub.bodies)
    unknown = "019b76da-a800-7000-8000-000000000000"
    for code, arguments in {
        "not_found": (logged, unknown),
        "unknown_model": (logged, "--model", "nobody"),
        "unknown_prompt": (logged, "--prompt", "99"),
        "model_not_configured": (logged, "--model", "gemini-2.0-flash"),
    }.items():
        found, out, err = cli("replay", *arguments)
        assert (found, out) == (EXIT_CODE[code], ""), err
        assert CASE not in err
    assert len(stub.bodies) == asked
