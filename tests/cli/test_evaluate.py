"""`ddx evaluate` on tiny sets, with the real knowledge engine."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from ddx.cli import run
from ddx.cli.exits import EXIT_CODE

MARFAN = ["HP:0001166", "HP:0001083", "HP:0002616", "HP:0000767"]
"""Arachnodactyly, ectopia lentis, aortic root aneurysm, pectus excavatum."""
CASES: list[dict[str, Any]] = [
    {"id": "marfan", "present": MARFAN, "pmid_in_kb": True, "gpt4o_rank": 2},
    {"id": "again", "present": MARFAN[:3], "pmid_in_kb": False, "gpt4o_rank": None},
    {"id": "named", "case_text": "Marfan, surely. Ectopia lentis.", "name_in_text": True},
    {"id": "nothing", "case_text": "Hello."},
]
TRUTH = {"name": "Marfan syndrome", "ids": ["OMIM:154700"]}

Evaluate = Callable[..., Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all: its index is made once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    path = tmp_path / "reese_tiny.jsonl"
    path.write_text("".join(json.dumps({**case, "truth": TRUTH}) + "\n" for case in CASES))
    return path


@pytest.fixture
def evaluate(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Evaluate:
    """Run it, and return its exit code with what it printed."""
    monkeypatch.setenv("DDX_HOME", str(home))

    def run_it(*arguments: object) -> tuple[int, str, str]:
        code = run(["evaluate", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_it


def test_the_json_has_the_figures_of_all_and_of_each_stratum(
    evaluate: Evaluate, cases: Path, tmp_path: Path
) -> None:
    code, out, err = evaluate(cases, "--json", "--no-mlflow", "--out", tmp_path / "o")

    found = json.loads(out)
    assert (code, err) == (0, "")
    assert {name: found[name] for name in ("n", "answered", "declined", "failed")} == {
        "n": 3,
        "answered": 2,
        "declined": 1,
        "failed": 0,
    }
    for name in ("top_1", "top_3", "top_5", "top_10", "mrr"):
        assert found[name].keys() == {"value", "low", "high"}
    assert found["top_10"]["value"] == pytest.approx(2 / 3, abs=1e-5)
    assert {"clean", "with", "macro"} <= found["strata"].keys()
    assert found["strata"]["clean"]["n"] == 1
    assert found["dropped"] == {"the text names the disease": 1}
    assert found["published"][0]["method"].startswith("Exomiser")
    assert found["same_cases"][0]["method"] == "gpt4o"


def test_the_table_says_what_stands_beside_what_was_left_out_and_where_it_is(
    evaluate: Evaluate, cases: Path, tmp_path: Path
) -> None:
    code, out, _ = evaluate(cases, "--no-mlflow", "--out", tmp_path / "o")

    assert code == 0
    assert "2 answered, 1 declined, 0 failed" in out
    assert "Exomiser" in out
    assert "1 cases left out: the text names the disease (--keep-all keeps them)" in out
    assert f"files: {tmp_path / 'o'}" in out


def test_the_folder_has_the_case_list_and_phevals_tables_and_no_text_of_a_case(
    evaluate: Evaluate, cases: Path, tmp_path: Path
) -> None:
    evaluate(cases, "--no-mlflow", "--keep-all", "--out", tmp_path / "o")

    with (tmp_path / "o" / "cases.csv").open() as file:
        rows = {row["case_id"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {case["id"] for case in CASES}
    assert rows["marfan"]["rank"] == "1"
    assert rows["nothing"]["outcome"] == "insufficient_information"
    table = tmp_path / "o" / "pheval_disease_results" / "marfan-pheval_disease_result.tsv"
    head, first, *_ = table.read_text().splitlines()
    assert head == "rank\tscore\tdisease_name\tdisease_identifier"
    assert first.startswith("1\t")
    assert first.endswith("\tMarfan syndrome\tOMIM:154700")
    for path in (tmp_path / "o").rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o077 == 0
            assert b"Marfan, surely" not in path.read_bytes()


def test_a_cut_results_file_is_gone_on_with(
    evaluate: Evaluate, cases: Path, tmp_path: Path
) -> None:
    evaluate(cases, "--no-mlflow", "--out", tmp_path / "o")
    results = tmp_path / "o" / "results.jsonl"
    whole = results.read_text()
    lines = whole.splitlines()
    results.write_text("\n".join(lines[:2]) + "\n" + lines[2][:40])

    code, out, _ = evaluate(cases, "--no-mlflow", "--json", "--resume", tmp_path / "o")

    assert code == 0
    assert json.loads(out)["n"] == 3
    resumed = results.read_text().splitlines()
    assert resumed[:2] == lines[:2]
    assert [json.loads(line)["case_id"] for line in resumed[1:]] == ["marfan", "again", "nothing"]


def test_results_of_another_question_are_not_gone_on_with(
    evaluate: Evaluate, cases: Path, tmp_path: Path
) -> None:
    evaluate(cases, "--no-mlflow", "--out", tmp_path / "o")

    code, _, err = evaluate(cases, "--no-mlflow", "--top", 5, "--resume", tmp_path / "o")
    assert code == EXIT_CODE["bad_results"]
    assert "answers another question: top" in err
    code, _, err = evaluate(cases, "--no-mlflow", "--out", tmp_path / "o")
    assert code == EXIT_CODE["bad_results"]
    assert "holds results already" in err


def test_two_evaluations_are_compared(evaluate: Evaluate, cases: Path, tmp_path: Path) -> None:
    for name, top in (("a", 10), ("b", 1)):
        evaluate(cases, "--no-mlflow", "--top", top, "--out", tmp_path / name)
    evaluate(cases, "--no-mlflow", "--limit", 1, "--out", tmp_path / "c")

    code, out, _ = evaluate("--compare", tmp_path / "a", tmp_path / "b", "--json")
    assert code == 0
    assert json.loads(out)["n"] == 3
    assert json.loads(out)["top_1"]["p"] == 1.0
    assert "only A" in evaluate("--compare", tmp_path / "a", tmp_path / "b")[1]
    code, _, err = evaluate("--compare", tmp_path / "a", tmp_path / "c")
    assert code == EXIT_CODE["bad_results"]
    assert "different cases" in err


def test_what_cannot_be_asked_is_refused_before_anything_is_asked(
    evaluate: Evaluate, cases: Path, tmp_path: Path
) -> None:
    refused = {
        "unknown_model": (cases, "--model", "nobody"),
        "unknown_prompt": (cases, "--prompt", 99),
        "model_not_configured": (cases, "--model", "gemini-2.0-flash"),
        "bad_cases": (tmp_path / "none.jsonl",),
        "bad_results": (cases, "--resume", tmp_path / "none"),
        "server_unreachable": (cases, "--server", "http://127.0.0.1:9"),
    }
    for code, arguments in refused.items():
        found, out, err = evaluate(*arguments, "--no-mlflow")
        assert (found, out) == (EXIT_CODE[code], ""), err
        assert "advice: " in err
    assert evaluate()[0] == 2
    assert evaluate(cases, "--compare", "a", "b")[0] == 2


def test_the_evaluation_is_one_run_with_figures_files_and_the_digest_of_its_cases(
    evaluate: Evaluate, home: Path, cases: Path, tmp_path: Path
) -> None:
    """MLflow's server does not run here: the store behind it is written."""
    code, out, _ = evaluate(cases, "--json", "--out", tmp_path / "o")
    found = json.loads(out)
    assert code == 0
    assert found["mlflow_run_id"], found["notes"]

    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{home}/mlflow_data/mlflow.db")
    made = client.get_run(found["mlflow_run_id"])
    experiment = client.get_experiment(made.info.experiment_id)
    assert experiment.name == "ddx-evaluation"
    assert made.info.status == "FINISHED"
    assert made.data.params["set_digest"] == found["set_digest"]
    assert made.data.params["model"] == "knowledge"
    assert made.data.metrics["top_1"] == found["top_1"]["value"]
    assert made.data.metrics["clean/mrr_low"] == found["strata"]["clean"]["mrr"]["low"]
    assert made.inputs.dataset_inputs[0].dataset.digest == found["set_digest"][:36]
    files = {file.path for file in client.list_artifacts(made.info.run_id)}
    assert files >= {
        "cases.csv",
        "cases.json",
        "pheval_disease_results",
        "plots",
        "report.html",
        "results.jsonl",
        "summary.json",
    }


def test_answers_are_kept_where_mlflow_is_away(
    evaluate: Evaluate, cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DDX_TRACKING_URI", "http://127.0.0.1:9")

    code, out, _ = evaluate(cases, "--out", tmp_path / "o")

    assert code == 0
    assert "Not in MLflow: " in out
    assert (tmp_path / "o" / "report.html").exists()


def test_ctrl_c_says_how_to_go_on(
    evaluate: Evaluate, cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ddx.wiring.evaluating.evaluate", stopped)

    code, out, err = evaluate(cases, "--no-mlflow", "--out", tmp_path / "o")
    assert (code, out) == (130, "")
    assert f"0 of 3 answers are kept: go on with --resume {tmp_path / 'o'}" in err


class _Server(BaseHTTPRequestHandler):
    """Refuses the first request for a moment, knows one disease, fails on `again`."""

    asked: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        if len(self.asked) == 1:
            self._reply(429, {"code": "overloaded"}, {"Retry-After": "0"})
        elif "case" in body:
            data = {"outcome": "insufficient_information", "result": []}
            self._reply(200, {"data": data})
        elif len(body["findings"]["present"]) == 3:
            self._reply(504, {"code": "model_deadline"})
        else:
            code = {"system": "OMIM", "code": "OMIM:154700", "display": "x"}
            found = {"diagnosis": "x", "likelihood": "High", "codes": [code]}
            self._reply(200, {"data": {"outcome": "answered", "result": [found]}})

    def _reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[str]:
    _Server.asked = []
    made = HTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    made.server_close()


def test_a_running_server_is_asked_as_its_clients_ask_it(
    evaluate: Evaluate, cases: Path, tmp_path: Path, server: str
) -> None:
    code, out, _ = evaluate(
        cases, "--server", server, "--temperature", 0.3, "--top-k", 7, "--max-tokens", 99,
        "--json", "--no-mlflow", "--out", tmp_path / "o",
    )  # fmt: skip

    found = json.loads(out)
    assert code == 0
    assert (found["answered"], found["declined"], found["failed"]) == (1, 1, 1)
    assert found["errors"] == {"model_deadline": 1}
    assert found["cost"]["usd"] is None
    assert _Server.asked[0] == _Server.asked[1]
    assert _Server.asked[0] == {
        "findings": {"present": MARFAN, "absent": [], "sex": None, "age": None},
        "model_name": "knowledge",
        "setting": "genetics",
        "temperature": 0.3,
        "top_k": 7,
        "max_tokens": 99,
        "top_differential": 10,
    }
