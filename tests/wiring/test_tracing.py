"""Traces from a real journal into a real MLflow and a real receiver of OTLP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.make import CASE, a_feedback, a_prediction, a_request, an_answer, finished
from tests.otlp_receiver import Receiver, a_receiver, attributes
from tests.tracking_server import Tracking, a_server

from ddx import settings
from ddx.adapters.sqlite_journal import SqliteJournal
from ddx.core.feedback import Verdict
from ddx.core.record import Failed, Prediction
from ddx.core.run_draft import EXPERIMENT
from ddx.settings import Settings
from ddx.wiring.delivering import deliver

pytest.importorskip("mlflow", reason="needs the extra `tracking`")


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    with a_server(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with a_receiver() as running:
        yield running


def at(home: Path, tracking: Tracking, **environment: str) -> Settings:
    (home / "mlflow_server_config.py").write_text(
        f"db_uri = {tracking.db_uri!r}\nartifacts_path = {tracking.artifacts_path!r}\n"
    )
    port = tracking.uri.rpartition(":")[2]
    return settings.load({"DDX_MLFLOW_PORT": port, **environment}, home)


def keep(loaded: Settings, *predictions: Prediction) -> None:
    with closing(SqliteJournal(loaded.data, "main")) as journal:
        for one in predictions:
            journal.accept(one, None).result()


def three() -> list[Prediction]:
    call = an_answer().calls[0]
    repaired = finished(calls=(call, call))
    failed = finished(outcome=Failed(code="model_error", message="…"))
    return [finished(), repaired, failed]


class Mlflow:
    def __init__(self, uri: str) -> None:
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(uri)
        self.experiment = self.client.get_experiment_by_name(EXPERIMENT).experiment_id

    def run_of(self, one: Prediction) -> str:
        (run,) = self.client.search_runs(
            [self.experiment], f"tags.`ddx.prediction_id` = '{one.id}'"
        )
        return str(run.info.run_id)

    def traces_of_run(self, run_id: str) -> list[Any]:
        return list(
            self.client.search_traces(
                locations=[self.experiment], run_id=run_id, include_spans=True
            )
        )

    def traces_of(self, one: Prediction) -> list[Any]:
        said = f"tags.`ddx.prediction_id` = '{one.id}'"
        return list(self.client.search_traces(locations=[self.experiment], filter_string=said))


@pytest.mark.parametrize("door", ["bulk", "client"])
def test_each_prediction_has_one_trace_linked_to_its_run_however_often_it_is_sent(
    tmp_path: Path, tracking: Tracking, door: str
) -> None:
    loaded = at(tmp_path, tracking, DDX_DELIVERY=door, DDX_TRACING="mlflow")
    made = three()
    keep(loaded, *made)
    assert deliver(loaded, once=True)["traced"] == 3
    assert deliver(loaded, once=True)["traced"] == 0
    (loaded.data / "traces.json").unlink()
    assert deliver(loaded, once=True)["traced"] == 3

    mlflow = Mlflow(tracking.uri)
    for one in made:
        (trace,) = mlflow.traces_of_run(mlflow.run_of(one))
        (by_tag,) = mlflow.traces_of(one)
        assert by_tag.info.trace_id == trace.info.trace_id == f"tr-{one.id.replace('-', '')}"
    answered, repaired, failed = (mlflow.traces_of(one)[0] for one in made)
    assert [span.name for span in answered.data.spans] == [
        "prediction",
        "chat openai/local",
        "read and ground",
    ]
    assert len(repaired.data.spans) == 4
    assert (answered.info.state.value, failed.info.state.value) == ("OK", "ERROR")
    assert answered.info.execution_duration == 1250
    assert answered.info.request_time == round(made[0].received_at.timestamp() * 1000)
    # The sums of all attempts, and not doubled by the third sending.
    usage = {"input_tokens": 200, "output_tokens": 40, "total_tokens": 240}
    assert repaired.info.token_usage == usage
    assert repaired.info.cost["total_cost"] == pytest.approx(0.002)
    said = str(answered.to_dict())
    assert not [text for text in (CASE, "fever", "Dengue", "system: …") if text in said]


def test_feedback_is_an_assessment_of_its_trace_once(tmp_path: Path, tracking: Tracking) -> None:
    loaded = at(tmp_path, tracking, DDX_TRACING="mlflow", DDX_TRACE_CONTENT="1")
    (one,) = made = [finished()]
    keep(loaded, *made)
    deliver(loaded, once=True)
    said = a_feedback(outcome=Verdict.ACCEPTED, true_diagnosis="Malaria", comment="Confirmed.")
    with closing(SqliteJournal(loaded.data, "main")) as journal:
        journal.add_feedback(one.id, said).result()
    deliver(loaded, once=True)
    (loaded.data / "traces.json").unlink()
    deliver(loaded, once=True)

    (trace,) = Mlflow(tracking.uri).traces_of(one)
    found = {item.name: item for item in trace.info.assessments}
    assert len(trace.info.assessments) == len(found) == 3
    assert (found["accepted"].value, found["accepted"].rationale) == (True, "Confirmed.")
    assert found["true_diagnosis_rank"].value == 2
    assert found["true_diagnosis"].value == "Malaria"
    assert found["accepted"].source.source_type == "HUMAN"


def test_with_content_the_case_and_the_messages_are_shown(
    tmp_path: Path, tracking: Tracking
) -> None:
    loaded = at(tmp_path, tracking, DDX_TRACING="mlflow", DDX_TRACE_CONTENT="1")
    (one,) = made = [finished(a_prediction(request=a_request(case="Ünusual case.")))]
    keep(loaded, *made)
    deliver(loaded, once=True)
    (trace,) = Mlflow(tracking.uri).traces_of(one)
    root, call, _ = trace.data.spans
    assert root.inputs["case"] == "Ünusual case."
    assert root.outputs["status"] == "success"
    assert "system: …" in str(call.inputs)


def test_a_collector_gets_each_trace_and_runs_do_not_wait_for_it(
    tmp_path: Path, tracking: Tracking, receiver: Receiver
) -> None:
    loaded = at(tmp_path, tracking, DDX_OTLP_ENDPOINT=receiver.endpoint)
    made = three()
    keep(loaded, *made)
    receiver.answers = [503]
    assert deliver(loaded, once=True) == {
        "delivered": 3,
        "quarantined": 0,
        "left": 0,
        "traced": 0,
    }
    receiver.answers = ["cut"]
    assert deliver(loaded, once=True)["traced"] == 0
    assert deliver(loaded, once=True)["traced"] == 3
    # Taken twice, for the first answer was lost: to the same ids.
    roots = [span for span in receiver.spans() if not span.parent_span_id]
    assert len(roots) == 6
    assert {root.trace_id.hex() for root in roots} == {one.id.replace("-", "") for one in made}
    assert {attributes(root)["ddx.prediction_id"] for root in roots} == {one.id for one in made}
    assert not [body for body in receiver.bodies if b"fever" in body]
    assert Mlflow(tracking.uri).traces_of(made[0]) == []
