"""`ddx report` and `ddx ledger` over a real journal, beside the runs of a real MLflow."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.dspy_engine.stub import Provider, Says
from tests.cli.conftest import Cli
from tests.make import a_feedback

from ddx import settings
from ddx.cli.exits import EXIT_CODE
from ddx.core.feedback import Verdict
from ddx.core.record import PredictionId
from ddx.wiring.serving import own_journal

pytest.importorskip("duckdb", reason="needs the extra `analytics`")

CASE = "A 24-year-old has had fever for 3 days. CANARY-9931."


@pytest.fixture
def asked(cli: Cli, stub: Provider, tmp_path: Path) -> list[str]:
    """Two answers of one model, one of another, and a failure of it; one is agreed with."""
    ids = []
    stub.script[:] = [Says(), Says(), Says(), Says(status=401)]
    for model in ("one", "one", "two", "two"):
        _, out, _ = cli("predict", CASE, "--model", model, "--json")
        if out.startswith("{"):
            ids.append(json.loads(out)["prediction_id"])
    with closing(own_journal(settings.load({}, home=tmp_path))) as journal:
        said = a_feedback(true_diagnosis="Dengue fever", outcome=Verdict.ACCEPTED)
        journal.add_feedback(PredictionId(ids[0]), said).result()
    return ids


def report(cli: Cli, *arguments: object) -> dict[str, Any]:
    code, out, err = cli("report", "--json", *arguments)
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.usefixtures("asked")
def test_figures_by_model(cli: Cli) -> None:
    found = report(cli, "--by", "model")
    assert (found["predictions"], found["success_rate"]) == (4, 0.75)
    one, two = found["by"]
    assert (one["model"], one["predictions"], one["success_rate"]) == ("one", 2, 1.0)
    assert (two["model"], two["failed"], two["input_tokens"]) == ("two", 1, 100)
    assert (one["rated"], one["accepted"], one["truth_first"]) == (1, 1, 1)
    (failure,) = found["failures"]
    assert failure["error_code"] == "model_error"
    assert failure["run_id"] == failure["prediction_id"].replace("-", "")
    assert report(cli, "--model", "two")["predictions"] == 2
    assert report(cli, "--since", "1h")["predictions"] == 4
    assert report(cli, "--until", "2020-01-01")["predictions"] == 0


@pytest.mark.usefixtures("asked")
def test_it_equals_the_runs_of_mlflow(cli: Cli, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient
    from tests.tracking_server import a_server

    with a_server(tmp_path / "mlflow") as tracking:
        text = (tmp_path / "ddx.toml").read_text()
        (tmp_path / "ddx.toml").write_text(f'tracking_uri = "{tracking.uri}"\n{text}')
        code, out, err = cli("ledger", "verify", "--json")
        assert code == 1  # nothing is delivered yet
        assert "runs" in json.loads(out)["differing"]
        code, _, err = cli("deliver", "--once")
        assert code == 0, err
        code, out, err = cli("ledger", "verify", "--json")
        assert code == 0, out
        sums = json.loads(out)["sums"]
        found = report(cli)
        client = MlflowClient(tracking.uri)
        experiment = client.get_experiment_by_name("ddx-server-tracking")
        runs = client.search_runs([experiment.experiment_id])
        assert len(runs) == found["predictions"] == sums["runs"][0] == 4
        successes = sum(run.data.metrics["success"] for run in runs)
        assert successes / len(runs) == found["success_rate"]
        tokens = sum(run.data.metrics.get("input_tokens", 0) for run in runs)
        assert tokens == found["input_tokens"] == 300


@pytest.mark.usefixtures("asked")
def test_a_rebuilt_ledger_says_the_same(cli: Cli, tmp_path: Path) -> None:
    before = report(cli, "--by", "model,outcome")
    code, out, _ = cli("ledger", "rebuild", "--json")
    assert (code, json.loads(out)) == (0, {"rows": 4})
    assert report(cli, "--by", "model,outcome") == before
    code, out, _ = cli("ledger", "--json")
    assert (json.loads(out)["rows"], json.loads(out)["feedback"]) == (4, 1)
    for path in (tmp_path / "ddx_data" / "ledger").rglob("*.parquet"):
        assert b"CANARY" not in path.read_bytes()


@pytest.mark.usefixtures("asked")
def test_forms(cli: Cli, tmp_path: Path) -> None:
    _, out, _ = cli("report", "--by", "model", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["model"], row["predictions"]) for row in rows] == [("one", "2"), ("two", "2")]
    _, out, _ = cli("report", "--by", "model", "--md")
    assert out.splitlines()[1].startswith("| --- |")
    assert out.splitlines()[-1].startswith("| all | 4 | 75.0 |")
    _, out, _ = cli("report", "--by", "day")
    assert re.search(r"^all +4 +75\.0", out, re.MULTILINE)

    page = tmp_path / "report.html"
    code, _, err = cli("report", "--by", "model", "--html", page, "--compare", "one", "two")
    assert code == 0, err
    text = page.read_text()
    assert text.count("<svg") == 5
    assert "<script" not in text
    assert not re.search(r"(src|href)=\"?http", re.sub(r'xmlns(:\w+)?="[^"]*"', "", text))
    assert "within what chance explains" in text
    assert "CANARY" not in text
    code, _, err = cli("report", "--html", page)
    assert code == EXIT_CODE["output_refused"]


@pytest.mark.usefixtures("asked")
def test_two_settings_are_compared(cli: Cli) -> None:
    found = report(cli, "--by", "model", "--compare", "one", "two")
    (success,) = [one for one in found["differences"] if one["figure"] == "success"]
    assert (success["first"]["value"], success["second"]["value"]) == (1.0, 0.5)
    assert success["p"] == 1.0
    code, _, err = cli("report", "--by", "model", "--compare", "one", "nobody")
    assert code == EXIT_CODE["bad_question"]
    assert "there are one, two" in err
    code, _, err = cli("report", "--compare", "one", "two")
    assert code == EXIT_CODE["bad_question"]


def test_nothing_yet_is_said_with_zeros(cli: Cli) -> None:
    found = report(cli, "--by", "day")
    assert (found["predictions"], found["success_rate"], found["by"]) == (0, None, [])


def test_unknown_groups_and_times_are_refused_with_what_there_is(cli: Cli) -> None:
    code, _, err = cli("report", "--by", "doctor")
    assert code == 2
    assert "error_code" in err
    code, _, err = cli("report", "--since", "yesterday")
    assert code == 2
    assert "24h" in err


def test_the_library_of_charts_leaves_no_hook_in_the_imports() -> None:
    from ddx.adapters.report_page import charts

    assert charts.lines(["a"], {"x": [1.0]}, str)
    assert all(hasattr(finder, "find_spec") for finder in sys.meta_path)
