"""`ddx export cases`: what feedback named is a case set that `ddx evaluate` reads."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.dspy_engine.stub import Provider, Says
from tests.cli.conftest import Cli
from tests.make import NOON, a_feedback

from ddx import settings
from ddx.adapters.casesets import read
from ddx.cli.exits import EXIT_CODE
from ddx.core.feedback import Feedback
from ddx.core.record import Code, PredictionId
from ddx.wiring.serving import own_journal

CASES = ("A man of 24 has fever\nand a rash.", "A girl of 4 coughs.", "Malaria? He shivers.")


@pytest.fixture
def ids(cli: Cli, stub: Provider) -> list[str]:
    entry = {"diagnosis": "Dengue fever", "likelihood": "High"}
    stub.script = [Says(text=json.dumps({"diagnoses": [entry]}))]
    return [
        str(json.loads(cli("predict", case, "--model", "one", "--json")[1])["prediction_id"])
        for case in CASES
    ]


@pytest.fixture
def tell(cli: Cli, tmp_path: Path) -> Any:
    def tell(id: str, said: Feedback) -> None:
        journal = own_journal(settings.load({}, home=tmp_path))
        try:
            journal.add_feedback(PredictionId(id), said).result()
        finally:
            journal.close()

    return tell


def test_cases_with_a_truth_are_exported_and_can_be_evaluated(
    cli: Cli, stub: Provider, ids: list[str], tell: Any, tmp_path: Path
) -> None:
    tell(ids[0], a_feedback(true_diagnosis="Zika"))
    tell(ids[0], a_feedback(true_diagnosis="dengue FEVER"))  # a change of mind
    tell(ids[1], Feedback(received_at=NOON, comment="No truth yet."))
    tell(ids[2], a_feedback(true_code=Code(system="OMIM", code="OMIM:611162", display="")))
    out = tmp_path / "cases.jsonl"

    code, said, warned = cli("export", "cases", "--out", out, "--json")

    assert code == 0
    assert json.loads(said) == {"what": "cases", "out": str(out), "cases": 2}
    assert not warned
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    first, second = read(out, lambda: pytest.fail("nothing of DDXPlus is here")).cases
    assert (first.id, first.text) == (ids[0], CASES[0])
    assert first.truth.name == "dengue FEVER"
    assert "MONDO:0005502" in first.truth.ids
    assert (second.truth.name, second.truth.ids) == ("Malaria", ("OMIM:611162",))
    assert second.flags["name_in_text"]

    code, said, _ = cli("evaluate", out, "--model", "one", "--json", "--out", tmp_path / "r")
    assert code == 0
    assert json.loads(said)["n"] == 1
    assert json.loads(said)["top_1"]["value"] == 1.0


def test_a_file_that_is_there_is_kept(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "mine.txt"
    out.write_text("mine")
    code, _, said = cli("export", "cases", "--out", out)
    assert code == EXIT_CODE["output_refused"]
    assert "is there already" in said
    assert out.read_text() == "mine"


def test_who_exports_is_told_what_is_in_the_file(
    cli: Cli, ids: list[str], tell: Any, tmp_path: Path
) -> None:
    tell(ids[0], a_feedback())
    code, said, warned = cli("export", "cases", "--out", tmp_path / "c.jsonl")
    assert code == 0
    assert "1 case with a true diagnosis" in said
    assert "patients' texts" in warned
