"""Each filter of 'Find it in MLflow' finds the runs that its line says, in a real MLflow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.make import (
    NOON,
    a_feedback,
    a_prediction,
    a_request,
    an_answer,
    an_answered,
    finished,
)
from tests.tracking_server import Tracking, a_server

from ddx.core.feedback import Verdict
from ddx.core.record import (
    Declined,
    Failed,
    Interrupted,
    LlmSettings,
    Outcome,
    Prediction,
    PredictionId,
    Request,
)
from ddx.core.run_draft import EXPERIMENT, RunDraft, draft

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "find-in-mlflow.md").read_text()
_TABLE = PAGE.partition("## Filters\n")[2].partition("\n## ")[0]
FILTERS = re.findall(r"^\| `` (.+?) `` \|", _TABLE, re.MULTILINE)
CODE = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
ID = PredictionId("01a20801-e9ca-787c-862e-5df01cce0ac4")
FINDS = {
    "metrics.success = 0": {"slow", "lost"},
    "attributes.status = 'FAILED'": {"slow"},
    "attributes.status = 'KILLED'": {"lost"},
    "tags.`ddx.outcome` = 'insufficient_information'": {"short"},
    "tags.`ddx.error_code` = 'model_deadline'": {"slow"},
    "params.model_name = 'gemini-2.0-flash'": {"first", "slow"},
    "params.llm_temperature = '0.2' and params.prompt_config_index = '1'": {"then"},
    "metrics.processing_time > 10": {"slow"},
    "metrics.llm_attempts > 1": {"slow"},
    "metrics.cost_usd > 0.01": {"first"},
    "metrics.output_tokens > 1000": {"first"},
    "metrics.diagnoses < 2": {"told"},
    "tags.`ddx.tracker` = 'visit-4711'": {"first"},
    "attributes.run_name = '01a20801-e9ca-787c-862e-5df01cce0ac4'": {"first"},
    "tags.`ddx.replay_of` = '01a20801-e9ca-787c-862e-5df01cce0ac4'": {"then"},
    "tags.`ddx.feedback` = 'overridden'": {"told"},
    "tags.`ddx.true_diagnosis` ILIKE '%dengue%'": {"told"},
    "tags.`ddx.unsupported_quotes` LIKE '%'": {"told"},
    "attributes.start_time > 1767268800000": {"then"},
}


def done(
    request: Request | None = None,
    outcome: Outcome | None = None,
    seconds: float = 1.25,
    id: PredictionId | None = None,
    **answer: object,
) -> Prediction:
    asked = a_prediction(request=request or a_request())
    found = finished(replace(asked, id=id) if id else asked, outcome, **answer)
    assert found.completion is not None
    return replace(found, completion=replace(found.completion, duration_s=seconds))


def drafts() -> dict[str, RunDraft]:
    """Return the runs that the filters tell apart, by what the table above calls them."""
    call = an_answer().calls[0]
    flash = a_request(model_name="gemini-2.0-flash")
    dear = replace(call, cost_usd=0.02, output_tokens=2000)
    cold = LlmSettings(model="x/y", max_tokens=9, temperature=0.2, top_k=5, prompt_index=1)
    late = Failed(code="model_deadline", message="Too late.")
    predictions = {
        "first": done(replace(flash, tracker="visit-4711"), id=ID, calls=(dear,)),
        "then": replace(done(settings=cold), received_at=NOON + timedelta(hours=1), replay_of=ID),
        "told": done(outcome=an_answered(("Malaria",)), unsupported_quotes=1),
        "slow": done(flash, late, 30.0, calls=(call, replace(call, attempt=2))),
        "short": done(outcome=Declined(reason="Too little detail."), calls=()),
    }
    lost = done(outcome=Interrupted(), calls=())
    assert lost.completion is not None
    predictions["lost"] = replace(lost, completion=replace(lost.completion, duration_s=None))
    said = [a_feedback(outcome=Verdict.OVERRIDDEN, true_diagnosis="Dengue fever")]
    return {name: draft(one, said if name == "told" else []) for name, one in predictions.items()}


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    pytest.importorskip("mlflow", reason="needs the extra `tracking`")
    from ddx.adapters.mlflow_runs import BulkRuns

    with a_server(tmp_path_factory.mktemp("mlflow")) as server:
        with closing(BulkRuns(server.db_uri, server.artifacts_path, "somebody")) as runs:
            assert set(runs.deliver(list(RUNS.values()), {}).values()) == {None}
        yield server


RUNS = drafts()


def test_each_filter_of_the_page_is_tried_here() -> None:
    assert set(FILTERS) == set(FINDS)


@pytest.mark.parametrize("filter", FILTERS)
def test_a_filter_finds_what_its_line_says(tracking: Tracking, filter: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking.uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    found = client.search_runs([experiment.experiment_id], filter)
    names = {one.prediction_id: name for name, one in RUNS.items()}
    assert {names[PredictionId(run.info.run_name)] for run in found} == FINDS[filter]


def test_the_program_of_the_page_runs(
    tracking: Tracking, capsys: pytest.CaptureFixture[str]
) -> None:
    (program,) = CODE
    exec(program.replace("http://127.0.0.1:5000", tracking.uri), {})
    assert capsys.readouterr().out == f"{RUNS['slow'].prediction_id} model_deadline 30.0\n"


def test_each_column_that_the_page_names_is_there() -> None:
    columns = PAGE.partition("## Columns\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z_.]+)`", columns)) - {"none"}
    there: set[str] = set()
    for one in RUNS.values():
        there |= {*one.params, *one.metrics, *one.tags}
    assert named - there == {"ddx.retry_of"}
