"""The client door on services that are not MLflow's own server, by their recorded manners."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contracts.test_partitions import a_run
from tests.contracts.test_runs import OpenContract, a_draft
from tests.managed_mlflow import (
    ARN,
    TOKEN,
    Asked,
    AzureML,
    Databricks,
    Manners,
    SageMaker,
    Told,
    a_mlflow,
    a_proxy,
    error,
)
from tests.production import servers

from ddx.adapters.mlflow_runs import ClientRuns, looking, sums, trying
from ddx.adapters.mlflow_runs.address import run_page
from ddx.adapters.mlflow_runs.erasing import MlflowEraser
from ddx.errors import AnswerLost, TrackerUnavailable
from ddx.ports import Refusal, Runs
from ddx.services.tracking_server import judge, judge_trial

pytest.importorskip("mlflow", reason="needs the extra `tracking`")
pytestmark = pytest.mark.xdist_group("managed")


@dataclass
class Service:
    uri: str
    manners: Manners
    folder: str = ""


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with a_mlflow(tmp_path_factory.mktemp("theirs")) as port:
        yield port


@contextmanager
def the_process_names(uri: str) -> Iterator[None]:
    """MLflow keeps one address for a process: it is forgotten afterwards."""
    from mlflow.tracking import set_tracking_uri

    try:
        yield
    finally:
        set_tracking_uri(None)


@contextmanager
def databricks(home: Path, upstream: int, patch: pytest.MonkeyPatch) -> Iterator[Service]:
    manners = Databricks(home / "signed")
    with a_proxy(manners, upstream) as proxy:
        manners.address = proxy.uri
        patch.setenv("DATABRICKS_HOST", proxy.uri)
        patch.setenv("DATABRICKS_TOKEN", TOKEN)
        yield Service("databricks", manners, "/Shared")


@contextmanager
def sagemaker(home: Path, upstream: int, patch: pytest.MonkeyPatch) -> Iterator[Service]:
    pytest.importorskip("sagemaker_mlflow", reason="needs the extra `sagemaker`")
    import boto3
    from mlflow.store.artifact import s3_artifact_repo

    manners = SageMaker("s3://bucket/theirs")
    with a_proxy(manners, upstream) as proxy, servers.s3(home / "objects") as objects:
        for name, value in objects.environment.items():
            patch.setenv(name, value)
        patch.setenv("SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT", proxy.uri)
        # Both keep the credentials of another test, for the life of the process.
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        s3_artifact_repo._cached_get_s3_client.cache_clear()
        yield Service(ARN, manners)
        s3_artifact_repo._cached_get_s3_client.cache_clear()


@contextmanager
def azure_ml(home: Path, upstream: int, patch: pytest.MonkeyPatch) -> Iterator[Service]:
    manners = AzureML()
    with a_proxy(manners, upstream) as proxy:
        patch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
        yield Service(f"{proxy.uri}{manners.prefix}", manners)


SERVICES = {"databricks": databricks, "sagemaker": sagemaker, "azure-ml": azure_ml}


@pytest.fixture(scope="module", params=SERVICES)
def service(
    request: pytest.FixtureRequest, upstream: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("service")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as open_:
        found = open_.enter_context(SERVICES[request.param](home, upstream, patch))
        open_.enter_context(the_process_names(found.uri))
        yield found


class TestClientRunsElsewhere(OpenContract):
    @pytest.fixture
    def runs(self, service: Service) -> Iterator[Runs]:
        made = ClientRuns(service.uri, None, "somebody", folder=service.folder)
        yield made
        made.close()


def test_what_a_service_can_do_is_said(service: Service, runs: Runs) -> None:
    runs.fill(runs.open(one := a_draft()), one)
    facts = looking.look(service.uri, service.folder)
    found = {check.name: check for check in judge("there", facts)}
    assert all(check.ok for check in found.values()), found
    told = {name: (check.found, check.warns) for name, check in found.items()}
    assert told == {**told, **TOLD[facts.service]}


TOLD = {
    "Databricks": {
        "MLflow": ("there: Databricks, which says no version", False),
        "search by tag": ("one search for many", False),
        "artifacts": ("by addresses that Databricks signs", False),
        "traces": ("traces yes, assessments yes", False),
        "erasure": (
            "files are emptied, not deleted; a run keeps its params and metrics, and tags that"
            " say nothing",
            True,
        ),
    },
    "Amazon SageMaker": {
        "MLflow": ("there: Amazon SageMaker, MLflow 3.17.2", False),
        "artifacts": ("straight into its store (s3://)", True),
        "traces": ("traces yes, assessments no", True),
        "erasure": (
            "files are deleted; a run keeps its params and metrics, and tags that say nothing",
            False,
        ),
    },
    "MLflow": {
        "MLflow": ("there: MLflow, which says no version", False),
        "search by tag": ("one search for each: no LIKE", True),
        "artifacts": ("through the server itself", False),
        "traces": ("traces no, assessments no", True),
    },
}


@pytest.fixture
def runs(service: Service) -> Iterator[Runs]:
    made = ClientRuns(service.uri, None, "somebody", folder=service.folder)
    yield made
    made.close()


def test_a_trial_run_is_made_read_and_removed(service: Service) -> None:
    found = judge_trial("MLflow", trying.trial(service.uri, service.folder))
    assert found.ok, found
    said = "create a run, set params, metrics and tags, write a file, read it back"
    assert found.found.startswith(said)
    # Its files stay where they cannot be deleted, and that is said.
    assert found.warns == isinstance(service.manners, Databricks), found


def test_what_is_erased_leaves_no_text_in_any_file(service: Service, runs: Runs) -> None:
    one, other = a_draft(), a_draft()
    for each in (one, other):
        runs.fill(runs.open(each), each)
    eraser = MlflowEraser(service.uri, service.folder)
    done = eraser.erase(one.prediction_id, datetime.now(UTC))
    assert done == {"runs": 1, "files": len(one.files), "traces": 0}
    ((found,), (untouched,)) = (list(runs.read([e.prediction_id])) for e in (one, other))
    assert "".join(found.draft.files.values()) == ""
    assert untouched.draft == other
    keeps = isinstance(service.manners, Databricks)
    assert any("empty" in line for line in eraser.remains) == keeps


def test_the_experiment_is_below_the_folder_of_the_workspace(service: Service, runs: Runs) -> None:
    from mlflow.tracking import MlflowClient

    assert not list(runs.look_for([]))
    runs.open(a_draft())
    name = f"{service.folder}/ddx-server-tracking".lstrip("" if service.folder else "/")
    assert MlflowClient(service.uri).get_experiment_by_name(name) is not None


def test_each_month_has_an_experiment_in_the_folder_and_every_look_sees_it(
    service: Service, upstream: int
) -> None:
    from mlflow.tracking import MlflowClient

    if isinstance(service.manners, AzureML):
        pytest.skip("it cannot rename experiments")
    folder = f"{service.folder}/months-{type(service.manners).__name__}"
    october, november = a_run(10), a_run(11)
    runs = ClientRuns(service.uri, None, "somebody", folder=folder, monthly=True)
    for one in (october, november):
        runs.fill(runs.open(one), one)
    name = f"{folder}/ddx-server-tracking"
    client = MlflowClient(service.uri)
    past = client.get_experiment_by_name(f"{name}-2026-10")
    (there,) = client.search_runs([past.experiment_id])
    assert there.info.run_name == october.prediction_id
    wanted = [october.prediction_id, november.prediction_id]
    for monthly in (True, False):
        other = ClientRuns(service.uri, None, "somebody", folder=folder, monthly=monthly)
        assert sorted(other.look_for(wanted)) == wanted
    assert sums(service.uri, None, folder)["runs"] == 2
    page = run_page(f"http://127.0.0.1:{upstream}", october.prediction_id, folder)
    assert page is not None
    assert page.endswith(f"#/experiments/{past.experiment_id}/runs/{there.info.run_id}")
    done = MlflowEraser(service.uri, folder).erase(october.prediction_id, datetime.now(UTC))
    assert done["runs"] == 1


def only_once(end: str, told: Told) -> Callable[[Asked], Told | None]:
    """A rule that meets one request."""
    left = [told]
    return lambda asked: left.pop() if left and asked.path.endswith(end) else None


def test_a_create_that_is_turned_away_for_its_number_is_not_in_doubt(
    service: Service, runs: Runs
) -> None:
    service.manners.broken = only_once(
        "/runs/create", error(429, "REQUEST_LIMIT_EXCEEDED", **{"Retry-After": "1"})
    )
    with pytest.raises(TrackerUnavailable) as raised:
        runs.open(a_draft())
    assert type(raised.value) is TrackerUnavailable


def test_a_create_whose_answer_is_lost_is_sent_once(service: Service, runs: Runs) -> None:
    runs.look_for([one := a_draft().prediction_id])
    drafted = replace(a_draft(), prediction_id=one)
    creates = 0

    def lost(asked: Asked) -> Told | None:
        nonlocal creates
        if not asked.path.endswith("/runs/create"):
            return None
        creates += 1
        raise ConnectionResetError

    service.manners.broken = lost
    try:
        with pytest.raises(AnswerLost):
            runs.open(drafted)
    finally:
        service.manners.broken = lambda asked: None
    assert creates == 1


def test_a_wrong_credential_is_told_from_a_server_that_is_away(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABRICKS_TOKEN", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of somebody else")
    refused = looking.look(service.uri, service.folder).refused
    kind = "unauthenticated" if isinstance(service.manners, AzureML) else "forbidden"
    assert refused == Refusal(kind=kind, status=401 if kind == "unauthenticated" else 403)
    with pytest.raises(TrackerUnavailable):
        ClientRuns(service.uri, None, "somebody", folder=service.folder).open(a_draft())
