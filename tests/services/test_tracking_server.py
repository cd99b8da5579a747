"""What is said of somebody else's MLflow, and when."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from threading import Event as Signal

import pytest
from tests.deliver_world import World

from ddx.adapters.memory_runs import MemoryRuns
from ddx.core.record import PredictionId
from ddx.errors import TrackerUnavailable
from ddx.ports import Check, Refusal, Seen, ServerFacts, Step
from ddx.services.deliver import Deliverer
from ddx.services.tracking_server import NAMES, ServerWatch, judge, judge_trial

WHOLE = ServerFacts(
    service="MLflow",
    experiment="ddx-server-tracking",
    version="3.17.2",
    experiment_id="1",
    artifact_location="mlflow-artifacts:/1",
    finds_tags=True,
    finds_patterns=True,
    traces=True,
    assessments=True,
)


def test_a_server_that_can_all_is_ok_without_a_warning() -> None:
    found = judge("https://there", WHOLE)
    assert [check.name for check in found] == list(NAMES)
    assert all(check.ok and not check.warns for check in found)


@pytest.mark.parametrize(
    ("service", "refused", "found", "advice"),
    [
        ("MLflow", Refusal(kind="unauthenticated", status=401), "(401)", "MLFLOW_TRACKING"),
        ("MLflow", Refusal(kind="forbidden", status=403), "(403)", "EDIT"),
        ("Databricks", Refusal(kind="forbidden", status=403), "(403)", "DATABRICKS_TOKEN"),
        ("Amazon SageMaker", Refusal(kind="forbidden", status=403), "(403)", "sagemaker-mlflow"),
        ("MLflow", Refusal(kind="untrusted"), "not trusted", "SERVER_CERT_PATH"),
        ("MLflow", Refusal(kind="unreachable"), "nothing answers", "Start it"),
        ("MLflow", Refusal(kind="absent", status=404), "(404)", "no MLflow"),
        ("MLflow", Refusal(kind="failed", status=500), "(500)", "operator"),
    ],
)
def test_a_server_that_does_not_let_us_in_is_named_with_advice(
    service: str, refused: Refusal, found: str, advice: str
) -> None:
    facts = ServerFacts(service=service, experiment="e", refused=refused)
    (check,) = judge("https://there", facts)
    assert not check.ok
    assert found in check.found
    assert advice in check.advice
    assert "safe in the journal" in check.advice


@pytest.mark.parametrize(
    ("changes", "name", "ok"),
    [
        ({"finds_tags": Refusal(kind="invalid")}, "search by tag", False),
        ({"finds_patterns": False}, "search by tag", True),
        ({"artifact_location": "/srv/mlruns/1"}, "artifacts", False),
        ({"artifact_location": "./mlruns/1"}, "artifacts", False),
        ({"artifact_location": "s3://bucket/1"}, "artifacts", True),
        ({"traces": False}, "traces", True),
        ({"artifact_location": "dbfs:/databricks/mlflow-tracking/1"}, "erasure", True),
        ({"experiment_refused": Refusal(kind="invalid")}, "experiment", False),
    ],
)
def test_what_breaks_the_promise_is_not_ok_and_what_is_less_warns(
    changes: dict[str, object], name: str, ok: bool
) -> None:
    found = {check.name: check for check in judge("there", replace(WHOLE, **changes))}  # type: ignore[arg-type]
    assert found[name].ok == ok
    assert found[name].warns == ok
    assert found[name].advice


def test_a_trial_that_only_leaves_something_behind_warns() -> None:
    done, left = Step(did="create a run"), Step(did="remove it", refused=Refusal(kind="failed"))
    assert judge_trial("MLflow", [done]).ok
    behind = judge_trial("MLflow", [done, left])
    assert (behind.ok, behind.warns) == (True, True)
    broken = judge_trial("MLflow", [Step(did="create a run", refused=Refusal(kind="forbidden"))])
    assert (broken.ok, broken.warns) == (False, False)
    assert "EDIT" in broken.advice


def test_it_is_said_once_and_again_when_it_changed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ddx")
    looks = [judge("there", WHOLE)] * 2 + [judge("there", replace(WHOLE, traces=False))] * 2
    watch = ServerWatch(lambda: looks.pop(0))
    for _ in range(4):
        watch.tell()
    said = [record for record in caplog.records if getattr(record, "event", "") != ""]
    assert [record.levelname for record in said] == ["INFO", "WARNING"]
    assert said[1].traces == "traces no, assessments yes"  # type: ignore[attr-defined]


def test_a_look_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def look() -> list[Check]:
        raise RuntimeError

    ServerWatch(look).tell()
    assert "RuntimeError" in caplog.records[0].look  # type: ignore[attr-defined]


class AwayOnce(MemoryRuns):
    """Answers, after it did not."""

    away = True

    def look_for(self, ids: Iterable[PredictionId]) -> Mapping[PredictionId, tuple[Seen, ...]]:
        if self.away:
            self.away = False
            raise TrackerUnavailable
        return super().look_for(ids)


def test_the_deliverer_says_when_the_server_is_back() -> None:
    world, stop, back = World(), Signal(), []
    runs = AwayOnce()

    def returned() -> None:
        back.append(len(runs.runs))
        stop.set()

    world.keep()
    Deliverer(
        journals=lambda: [world.journal],
        runs=runs,
        state=world.state,
        clock=world.clock,
        luck=bytes,
        back=returned,
    ).run(stop)
    assert back == [1]
