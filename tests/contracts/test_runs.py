"""What both doors into MLflow promise, and that nobody can tell their runs apart."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.make import a_prediction, a_request, an_answer, finished
from tests.tracking_server import Tracking

from ddx.adapters.memory_runs import MemoryRuns
from ddx.adapters.mlflow_runs import BulkRuns, ClientRuns
from ddx.core.record import Cancelled, Completion, Declined, Failed, Interrupted, PredictionId
from ddx.core.run_draft import EXPERIMENT, RunDraft, draft
from ddx.errors import DeliveryRefused, TrackerUnavailable
from ddx.ports import Runs

pytestmark = pytest.mark.xdist_group("mlflow")
PAGES = "http://ddx.example"
ODD = "naïve “fièvre” 🤒\r\nline\rline\n\ttab\u2028sep \x07bell\x00nul 发烧\n\n"


def a_draft(**changes: Any) -> RunDraft:
    return draft(finished(**changes))


def interrupted() -> RunDraft:
    answer = an_answer(Interrupted(), calls=(), prompt_used=None, raw_output=None)
    completion = Completion(duration_s=None, answer=answer, status=503, body="")
    return draft(a_prediction().completed(completion))


def an_odd_draft() -> RunDraft:
    request = a_request(case=ODD, tracker="visit 7 🤒\r\n'; drop table runs;--\x00")
    return draft(finished(a_prediction(request=request), raw_output=ODD, prompt_used=ODD))


def deliver(runs: Runs, one: RunDraft) -> None:
    if runs.chooses_ids:
        assert runs.deliver([one], {}) == {one.prediction_id: None}
    else:
        runs.fill(runs.open(one), one)


def read(runs: Runs, id: PredictionId) -> RunDraft:
    (found,) = runs.read([id])
    return found.draft


class RunsContract:
    """Subclass it and say how to make one."""

    @pytest.mark.parametrize(
        "one",
        [
            a_draft(),
            a_draft(outcome=Declined(reason="Only a name was given.")),
            a_draft(outcome=Failed(code="model_error", message="It broke.")),
            a_draft(outcome=Cancelled()),
            interrupted(),
            an_odd_draft(),
        ],
        ids=["answered", "declined", "failed", "cancelled", "interrupted", "odd text"],
    )
    def test_a_run_reads_back_as_its_draft(self, runs: Runs, one: RunDraft) -> None:
        one = again(one)
        deliver(runs, one)
        assert read(runs, one.prediction_id) == one

    def test_sending_a_run_again_changes_nothing(self, runs: Runs) -> None:
        one = a_draft()
        deliver(runs, one)
        ((seen,),) = runs.look_for([one.prediction_id]).values()
        runs.fill(seen.run_id, one)
        if runs.chooses_ids:
            deliver(runs, one)
        assert read(runs, one.prediction_id) == one

    def test_runs_are_found_by_their_tags(self, runs: Runs) -> None:
        drafts = [a_draft() for _ in range(3)]
        for one in drafts:
            deliver(runs, one)
        ids = [one.prediction_id for one in drafts]
        found = runs.look_for([*ids, a_draft().prediction_id])
        assert set(found) == set(ids)
        assert all(len(seen) == 1 and seen[0].whole for seen in found.values())
        assert set(ids) <= set(runs.all_ids())

    def test_a_discarded_run_is_not_found(self, runs: Runs) -> None:
        one = a_draft()
        deliver(runs, one)
        ((seen,),) = runs.look_for([one.prediction_id]).values()
        runs.discard(seen.run_id)
        assert not runs.look_for([one.prediction_id])
        assert not list(runs.read([one.prediction_id]))
        assert one.prediction_id not in set(runs.all_ids())
        with pytest.raises(DeliveryRefused):
            runs.fill(seen.run_id, one)

    def test_nothing_is_found_among_nothing(self, runs: Runs) -> None:
        assert not runs.look_for([])
        assert not list(runs.read([]))


class OpenContract(RunsContract):
    """A door where MLflow chooses the ids."""

    def test_an_opened_run_is_not_whole_until_it_is_filled(self, runs: Runs) -> None:
        one = a_draft()
        run_id = runs.open(one)
        ((seen,),) = runs.look_for([one.prediction_id]).values()
        assert (seen.run_id, seen.whole) == (run_id, False)
        runs.fill(run_id, one)
        ((seen,),) = runs.look_for([one.prediction_id]).values()
        assert (seen.run_id, seen.whole) == (run_id, True)

    def test_of_twins_the_whole_one_is_named_first(self, runs: Runs) -> None:
        one = a_draft()
        opened = [runs.open(one) for _ in range(4)]
        kept = sorted(opened)[2]
        runs.fill(kept, one)
        ((first, *others),) = runs.look_for([one.prediction_id]).values()
        assert (first.run_id, first.whole) == (kept, True)
        assert [seen.run_id for seen in others] == sorted(set(opened) - {kept})


class OurIdsContract(RunsContract):
    """A door where the run id is ours."""

    def test_a_batch_that_is_repeated_changes_nothing(self, runs: Runs) -> None:
        drafts = [a_draft() for _ in range(10)]
        runs.deliver(drafts[:6], {})
        results = runs.deliver(drafts, {})
        assert results == dict.fromkeys((one.prediction_id for one in drafts), None)
        found = {one.draft.prediction_id: one.draft for one in runs.read(list(results))}
        assert found == {one.prediction_id: one for one in drafts}

    def test_runs_that_are_known_are_filled_with_the_others(self, runs: Runs) -> None:
        drafts = [a_draft() for _ in range(6)]
        runs.deliver(drafts[:3], {})
        found = runs.look_for([one.prediction_id for one in drafts])
        known = {id: seen[0].run_id for id, seen in found.items()}
        changed = [replace(one, params={**one.params, "llm_model": "other"}) for one in drafts]
        assert set(runs.deliver(changed, known).values()) == {None}
        read_back = [one.draft for one in runs.read([one.prediction_id for one in drafts])]
        assert sorted(read_back, key=lambda one: one.prediction_id) == changed


class TestMemoryRuns(OpenContract):
    @pytest.fixture
    def runs(self) -> Runs:
        return MemoryRuns()


class TestMemoryRunsWithOurIds(OurIdsContract):
    @pytest.fixture
    def runs(self) -> Runs:
        return MemoryRuns(chooses_ids=True)


@pytest.fixture
def client(tracking: Tracking) -> Iterator[ClientRuns]:
    runs = ClientRuns(tracking.uri, tracking.artifacts_path, "somebody", PAGES)
    yield runs
    runs.close()


@pytest.fixture
def bulk(tracking: Tracking) -> Iterator[BulkRuns]:
    runs = BulkRuns(tracking.db_uri, tracking.artifacts_path, "somebody", PAGES)
    yield runs
    runs.close()


class TestClientRuns(OpenContract):
    @pytest.fixture
    def runs(self, client: ClientRuns) -> Runs:
        return client


class TestBulkRuns(OurIdsContract):
    @pytest.fixture
    def runs(self, bulk: BulkRuns) -> Runs:
        return bulk


def test_runs_of_both_doors_differ_in_nothing_but_their_ids(
    tracking: Tracking, client: ClientRuns, bulk: BulkRuns, tmp_path: Path
) -> None:
    originals = [
        a_draft(),
        a_draft(outcome=Failed(code="model_error", message="It broke.")),
        interrupted(),
        an_odd_draft(),
    ]
    for one in originals:
        deliver(client, one)
        (by_client,) = client.look_for([one.prediction_id])[one.prediction_id]
        seen_by_client = seen_by_anyone(tracking, by_client.run_id, tmp_path)
        client.discard(by_client.run_id)
        deliver(bulk, one)
        (by_bulk,) = bulk.look_for([one.prediction_id])[one.prediction_id]
        assert by_bulk.run_id != by_client.run_id
        seen_by_bulk = seen_by_anyone(tracking, by_bulk.run_id, tmp_path)
        assert seen_by_bulk == seen_by_client


@pytest.mark.parametrize("door", ["client", "bulk"])
def test_a_run_leads_to_its_page_until_somebody_writes_there(
    tracking: Tracking, door: str, request: pytest.FixtureRequest
) -> None:
    from mlflow.tracking import MlflowClient

    runs, one, mlflow = request.getfixturevalue(door), a_draft(), MlflowClient(tracking.uri)
    deliver(runs, one)
    (seen,) = runs.look_for([one.prediction_id])[one.prediction_id]

    def note() -> str:
        return str(mlflow.get_run(seen.run_id).data.tags["mlflow.note.content"])

    assert note().endswith(f"({PAGES}/dashboard/requests/{one.prediction_id})")
    mlflow.set_tag(seen.run_id, "mlflow.note.content", "Looked at.")
    if runs.chooses_ids:
        runs.deliver([one], {one.prediction_id: seen.run_id})
    else:
        runs.fill(seen.run_id, one)
    assert note() == "Looked at."


def seen_by_anyone(tracking: Tracking, run_id: str, folder: Path) -> dict[str, Any]:
    """All that MLflow's own client and search tell of a run, its id replaced."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking.uri)
    run = client.get_run(run_id)
    experiment = client.get_experiment(run.info.experiment_id)
    assert experiment.name == EXPERIMENT
    assert experiment.artifact_location == f"{tracking.artifacts_path}/{experiment.experiment_id}"
    assert run.info.artifact_uri == f"{experiment.artifact_location}/{run_id}/artifacts"
    (found,) = client.search_runs(
        [experiment.experiment_id], f"attributes.run_id = '{run_id}' and metrics.success >= 0"
    )
    assert found.to_dictionary() == run.to_dictionary()
    local = Path(client.download_artifacts(run_id, "", str(folder)))
    info = {k: v for k, v in dict(run.info).items() if k not in {"run_id", "run_uuid"}}
    return {
        "info": {**info, "artifact_uri": None},
        "data": run.data.to_dictionary(),
        "inputs": run.inputs.to_dictionary(),
        "history": {
            name: [dict(point) for point in client.get_metric_history(run_id, name)]
            for name in run.data.metrics
        },
        "artifacts": {
            item.path: (item.is_dir, item.file_size, (local / item.path).read_bytes())
            for item in client.list_artifacts(run_id)
        },
    }


def test_artifacts_are_for_their_owner_alone(client: ClientRuns, bulk: BulkRuns) -> None:
    for runs in (client, bulk):
        one = a_draft()
        deliver(runs, one)
        (seen,) = runs.look_for([one.prediction_id])[one.prediction_id]
        root = Path(client_location(runs)) / seen.run_id
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
        assert len(modes) == 2 + len(one.files)
        assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items())


def client_location(runs: Runs) -> str:
    from mlflow.tracking import MlflowClient

    if isinstance(runs, ClientRuns):
        client = MlflowClient(runs._tracking_uri)
        return str(client.get_experiment_by_name(EXPERIMENT).artifact_location)
    assert isinstance(runs, BulkRuns)
    return f"{runs._artifacts_path}/1"


def test_a_deleted_experiment_comes_back_without_its_twins(
    tracking: Tracking, client: ClientRuns, bulk: BulkRuns
) -> None:
    from mlflow.tracking import MlflowClient

    for runs in (client, bulk):
        kept, twin, late = a_draft(), a_draft(), a_draft()
        deliver(runs, kept)
        deliver(runs, twin)
        runs.discard(runs.look_for([twin.prediction_id])[twin.prediction_id][0].run_id)
        mlflow = MlflowClient(tracking.uri)
        mlflow.delete_experiment(mlflow.get_experiment_by_name(EXPERIMENT).experiment_id)
        if runs is client:
            with pytest.raises(TrackerUnavailable):  # it looks only after it was refused
                deliver(runs, late)
        deliver(runs, late)
        found = runs.look_for([kept.prediction_id, twin.prediction_id, late.prediction_id])
        assert set(found) == {kept.prediction_id, late.prediction_id}


def test_a_half_made_run_of_the_client_door_is_finished_by_the_bulk_door(
    client: ClientRuns, bulk: BulkRuns
) -> None:
    one = an_odd_draft()
    run_id = client.open(one)
    bulk.fill(run_id, one)
    assert read(client, one.prediction_id) == one


def test_what_people_noted_on_a_run_outlives_sending_it_again(
    tracking: Tracking, client: ClientRuns, bulk: BulkRuns
) -> None:
    from mlflow.tracking import MlflowClient

    one = a_draft()
    deliver(bulk, one)
    run_id = bulk.look_for([one.prediction_id])[one.prediction_id][0].run_id
    MlflowClient(tracking.uri).set_tag(run_id, "reviewed", "yes")
    for runs in (client, bulk):
        runs.fill(run_id, one)
        assert read(runs, one.prediction_id).tags == {**one.tags, "reviewed": "yes"}


def test_a_changed_param_is_refused_by_the_client_door_and_mended_by_the_bulk_door(
    client: ClientRuns, bulk: BulkRuns
) -> None:
    one = a_draft()
    deliver(bulk, one)
    run_id = bulk.look_for([one.prediction_id])[one.prediction_id][0].run_id
    other = replace(one, params={**one.params, "llm_model": "secret case"})
    with pytest.raises(DeliveryRefused) as refused:
        client.fill(run_id, other)
    assert "secret" not in str(refused.value)
    bulk.fill(run_id, other)
    assert read(client, one.prediction_id) == other


def test_one_text_that_is_no_text_does_not_hold_up_the_batch(bulk: BulkRuns) -> None:
    good, bad = [a_draft() for _ in range(5)], a_draft()
    bad = replace(bad, files={**bad.files, "input_case.txt": "half a pair: \ud83e"})
    results = dict(bulk.deliver([*good, bad], {}))
    assert isinstance(results.pop(bad.prediction_id), DeliveryRefused)
    assert set(results.values()) == {None}


def test_a_row_that_the_database_refuses_does_not_hold_up_the_batch(bulk: BulkRuns) -> None:
    good, bad = [a_draft() for _ in range(5)], a_draft()
    # SQLite refuses only what it cannot bind.
    bad = replace(bad, params={**bad.params, "llm_model": "half a pair: \ud83e"})
    results = bulk.deliver([*good[:2], bad, *good[2:]], {})
    refusal = results[bad.prediction_id]
    assert isinstance(refusal, DeliveryRefused)
    assert "pair" not in str(refusal)
    assert set(bulk.look_for(list(results))) == {one.prediction_id for one in good}


def again(one: RunDraft) -> RunDraft:
    """The same under an id of its own: parameters of tests are made once for all doors."""
    id = a_prediction().id
    return replace(one, prediction_id=id, tags={**one.tags, "ddx.prediction_id": id})
