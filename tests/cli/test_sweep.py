"""`ddx sweep` on a tiny set, with LLMs behind a stub and the store behind a real MLflow."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.dspy_engine.stub import ANSWER, Provider, Says
from tests.cli.conftest import Cli

from ddx.cli.exits import EXIT_CODE

CASE = "A 24-year-old has had fever for 3 days, headache, bleeding gums. Case {}."


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    path = tmp_path / "two.jsonl"
    path.write_text(
        "".join(
            json.dumps(
                {
                    "id": id,
                    "case_text": CASE.format(id),
                    "truth": {"name": name, "ids": []},
                }
            )
            + "\n"
            for id, name in (("a", "Dengue fever"), ("b", "Malaria"))
        )
    )
    return path


def sweeps(home: Path) -> list[Path]:
    return sorted((home / "ddx_data" / "sweeps").glob("*"))


def children(home: Path, parent: str) -> dict[str, Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{home}/mlflow_data/mlflow.db")
    experiment = client.get_experiment_by_name("ddx-evaluation")
    runs = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert len({run.info.run_name for run in runs}) == len(runs)
    return {str(run.info.run_name): run for run in runs}


def test_a_grid_is_asked_and_what_an_engine_does_not_read_is_left_out_of_its_cells(
    cli: Cli, cases: Path, stub: Provider, tmp_path: Path
) -> None:
    code, out, err = cli(
        "sweep", cases, "--model", "one,knowledge", "--temperature", "0,0.7", "--top-k", "3,9",
        "--repeat", 2, "--json", "--no-mlflow", "--yes",
    )  # fmt: skip

    found = json.loads(out)
    assert code == 0
    assert "two: 2 cases, 5 cells, each case 2 times" in err
    assert [cell["label"] for cell in found["cells"]] == [
        "one temperature=0 top_k=3",
        "one temperature=0 top_k=9",
        "one temperature=0.7 top_k=3",
        "one temperature=0.7 top_k=9",
        "knowledge",
    ]
    asked = [(body["temperature"], body["top_k"]) for body in stub.bodies]
    assert asked == [(0, 3)] * 4 + [(0, 9)] * 4 + [(0.7, 3)] * 4 + [(0.7, 9)] * 4
    first, knowledge = found["cells"][0], found["cells"][-1]
    assert first["top_1"]["value"] == 0.5
    assert first["stability"]["same_first"]["value"] == 1.0
    assert first["cost"] | {"p50_s": 0, "p95_s": 0, "total_s": 0} == {
        "p50_s": 0,
        "p95_s": 0,
        "total_s": 0,
        "input_tokens": 400,
        "output_tokens": 80,
        "usd": None,
    }
    assert knowledge["cost"]["usd"] == 0
    (folder,) = sweeps(tmp_path)
    assert {path.name for path in (folder / "plots").iterdir()} == {
        "accuracy.png",
        "stability.png",
        "time_and_cost.png",
    }
    with (folder / "sweep.csv").open() as file:
        assert [row["temperature"] for row in csv.DictReader(file)] == ["0.0"] * 2 + ["0.7"] * 2 + [
            ""
        ]
    for path in folder.rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o077 == 0
            assert b"bleeding gums" not in path.read_bytes()


def test_the_tables_name_what_differs_and_two_cells_can_be_compared(
    cli: Cli, cases: Path, stub: Provider, tmp_path: Path
) -> None:
    code, out, _ = cli("sweep", cases, "--model", "one", "--prompt", "1,2", "--no-mlflow", "--yes")

    assert code == 0
    head, first, *_ = out.splitlines()
    assert head.split()[:3] == ["model", "prompt", "top-1"]
    assert first.split()[:3] == ["one", "1", "50.0"]
    assert "  unknown" in out
    cells = sorted((sweeps(tmp_path)[0] / "cells").iterdir())
    assert [cell.name for cell in cells] == ["01-one-prompt-1", "02-one-prompt-2"]
    assert stub.bodies[0]["messages"] != stub.bodies[2]["messages"]
    code, out, _ = cli("evaluate", "--compare", *cells)
    assert code == 0
    assert "B: one, prompt 2" in out


def test_what_may_cost_is_not_asked_without_a_yes(
    cli: Cli, cases: Path, stub: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = cli("sweep", cases, "--model", "one,knowledge")
    assert (code, out) == (EXIT_CODE["not_agreed"], "")
    assert "what they cost is unknown: no price is known for one." in err
    assert "--yes" in err

    monkeypatch.setenv("OPENAI_API_KEY", "k")
    code, _, err = cli("sweep", cases, "--model", "gpt-4o", "--repeat", 100)
    assert code == EXIT_CODE["not_agreed"]
    assert re.search(r"200 questions, about 4\.\d\d USD, at most \d{2,3}\.\d\d USD\.", err)

    assert (stub.bodies, sweeps(tmp_path)) == ([], [])


def test_what_is_surely_free_is_not_asked_about(cli: Cli, cases: Path) -> None:
    code, out, err = cli("sweep", cases, "--no-mlflow", "--setting", "primary_care,emergency")

    assert code == 0
    assert "4 questions, free of charge." in err
    assert "emergency" in out


def test_a_sweep_is_a_parent_run_with_a_child_for_each_cell(
    cli: Cli, cases: Path, tmp_path: Path
) -> None:
    """MLflow's server does not run here: the store behind it is written."""
    code, out, _ = cli(
        "sweep", cases, "--model", "one", "--temperature", "0,1", "--repeat", 2, "--yes", "--json"
    )  # fmt: skip

    found = json.loads(out)
    assert code == 0
    assert found["mlflow_run_id"], found["notes"]
    kept = children(tmp_path, found["mlflow_run_id"])
    assert {cell["label"]: cell["mlflow_run_id"] for cell in found["cells"]} == {
        name: run.info.run_id for name, run in kept.items()
    }
    assert {run.data.params["temperature"] for run in kept.values()} == {"0.0", "1.0"}
    for run in kept.values():
        assert run.info.status == "FINISHED"
        assert run.data.metrics["top_1"] == 0.5
        assert {"p50_s", "p95_s", "stability_first", "stability_top_5"} <= run.data.metrics.keys()

    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow_data/mlflow.db")
    parent = client.get_run(found["mlflow_run_id"])
    assert parent.info.status == "FINISHED"
    assert parent.data.params["temperatures"] == "0.0, 1.0"
    assert parent.data.metrics["cells"] == 2
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert files == {"plots", "summary.json", "sweep.csv", "sweep.json"}


def test_a_stopped_sweep_goes_on_where_it_stopped_in_the_same_runs(
    cli: Cli, cases: Path, stub: Provider, tmp_path: Path
) -> None:
    def ctrl_c_at_the_third(_: dict[str, Any]) -> Says:
        if len(stub.bodies) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            return Says(wait_s=120)  # the signal is seen when this process gets a processor
        return Says()

    stub.decide = ctrl_c_at_the_third
    code, out, err = cli("sweep", cases, "--model", "one,two", "--yes")
    (folder,) = sweeps(tmp_path)
    assert (code, out) == (130, "")
    assert f"2 of 4 answers are kept: go on with --resume {folder}" in err
    parent = json.loads((folder / "sweep.json").read_text())["mlflow_run_id"]
    (kept,) = children(tmp_path, parent).values()

    code, _, err = cli("sweep", "--resume", folder)
    assert code == EXIT_CODE["not_agreed"]
    assert "2 questions; what they cost is unknown" in err
    stub.decide = None
    code, out, _ = cli("sweep", "--resume", folder, "--yes", "--json")

    found = json.loads(out)
    assert code == 0
    assert len(stub.bodies) == 5
    assert [cell["answered"] for cell in found["cells"]] == [2, 2]
    assert found["mlflow_run_id"] == parent
    assert found["cells"][0]["mlflow_run_id"] == kept.info.run_id
    assert children(tmp_path, parent).keys() == {"one", "two"}


def test_failed_answers_are_asked_again_and_their_cells_run_is_made_anew(
    cli: Cli, cases: Path, stub: Provider, tmp_path: Path
) -> None:
    stub.decide = lambda body: Says(status=500) if "Case b" in json.dumps(body) else Says()
    code, out, _ = cli("sweep", cases, "--model", "one", "--yes", "--json")
    before = json.loads(out)
    assert code == 0
    assert before["cells"][0]["failed"] == 1
    stub.decide = None
    stub.script = [Says(text=json.dumps(ANSWER).replace("Dengue fever", "Malaria"))]

    _, out, _ = cli("sweep", "--resume", before["folder"], "--yes", "--json")

    after = json.loads(out)
    assert after["cells"][0]["top_1"]["value"] == 1.0
    (run,) = children(tmp_path, before["mlflow_run_id"]).values()
    assert run.info.run_id == after["cells"][0]["mlflow_run_id"]
    assert run.info.run_id != before["cells"][0]["mlflow_run_id"]
    assert run.data.metrics["failed"] == 0


def test_another_question_is_not_gone_on_with(cli: Cli, cases: Path, tmp_path: Path) -> None:
    cli("sweep", cases, "--no-mlflow", "--out", tmp_path / "o")

    assert cli("sweep", cases, "--resume", tmp_path / "o")[0] == 2
    assert cli("sweep", "--resume", tmp_path / "o", "--top", 3)[0] == 2
    assert cli("sweep")[0] == 2
    for arguments, said in (
        ((cases, "--out", tmp_path / "o"), "holds files already"),
        (("--resume", tmp_path), "is no folder of a sweep"),
    ):
        code, _, err = cli("sweep", *arguments)
        assert (code, said in err) == (EXIT_CODE["bad_results"], True), err
    cases.write_text(cases.read_text().replace("Malaria", "Typhoid"))
    code, _, err = cli("sweep", "--resume", tmp_path / "o")
    assert code == EXIT_CODE["bad_results"]
    assert "has changed since this sweep began" in err


def test_what_cannot_be_asked_is_refused_before_anything_is_asked(
    cli: Cli, cases: Path, tmp_path: Path, stub: Provider
) -> None:
    refused = {
        "unknown_model": (cases, "--model", "one,nobody"),
        "unknown_prompt": (cases, "--model", "one", "--prompt", "1,99"),
        "model_not_configured": (cases, "--model", "one,gemini-2.0-flash"),
        "bad_cases": (tmp_path / "none.jsonl",),
    }
    for code, arguments in refused.items():
        assert cli("sweep", *arguments, "--yes")[:2] == (EXIT_CODE[code], "")
    assert cli("sweep", cases, "--temperature", "0,3")[0] == 2
    assert (stub.bodies, sweeps(tmp_path)) == ([], [])


def test_answers_are_kept_where_mlflow_is_away_and_brought_there_later(
    cli: Cli, cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setenv("DDX_TRACKING_URI", "http://127.0.0.1:9")
        code, out, _ = cli("sweep", cases, "--out", tmp_path / "o")
    assert code == 0
    assert "Not in MLflow: " in out

    code, out, _ = cli("sweep", "--resume", tmp_path / "o", "--json")

    found = json.loads(out)
    assert code == 0
    assert children(tmp_path, found["mlflow_run_id"]).keys() == {"knowledge"}
