"""An experiment for each month: both doors, on a store of MLflow's own."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.make import a_prediction, finished

from ddx.adapters.mlflow_runs import BulkRuns, ClientRuns, store_file, sums
from ddx.adapters.mlflow_runs.erasing import MlflowEraser
from ddx.adapters.mlflow_runs.experiment import ensure
from ddx.core import ids
from ddx.core.record import Prediction, PredictionId
from ddx.core.run_draft import EXPERIMENT, RunDraft, draft

pytestmark = pytest.mark.xdist_group("mlflow")
NAMES = ["bulk", "client"]


@dataclass
class Store:
    """MLflow's own store, and doors into it."""

    folder: Path
    opened: list[Any] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    def door(self, name: str, *, monthly: bool = True) -> Any:
        kind: Callable[..., Any] = BulkRuns if name == "bulk" else ClientRuns
        self.opened.append(kind(self.uri, str(self.folder / "artifacts"), "me", monthly=monthly))
        return self.opened[-1]

    def client(self) -> Any:
        from mlflow.tracking import MlflowClient

        return MlflowClient(self.uri)

    def where(self) -> dict[str, str]:
        """Return run name -> name of its experiment."""
        client = self.client()
        return {
            run.info.run_name: one.name
            for one in client.search_experiments()
            for run in client.search_runs([one.experiment_id])
        }


@pytest.fixture
def store(tmp_path: Path, empty_database: Path) -> Iterator[Store]:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    made = Store(tmp_path)
    yield made
    for one in made.opened:
        one.close()


def a_run(month: int, day: int = 15) -> RunDraft:
    at = datetime(2026, month, day, 12, tzinfo=UTC)
    record: Prediction = finished(a_prediction(received_at=at))
    return draft(replace(record, id=ids.prediction_id(at, bytes([month, day] * 5))))


def deliver(runs: Any, drafts: Sequence[RunDraft]) -> None:
    if runs.chooses_ids:
        assert set(runs.deliver(drafts, {}).values()) == {None}
        return
    for one in drafts:
        runs.fill(runs.open(one), one)


@pytest.mark.parametrize("name", NAMES)
def test_each_month_has_an_experiment_and_the_newest_keeps_the_name(
    store: Store, name: str
) -> None:
    runs = store.door(name)
    october, november, december = a_run(10), a_run(11), a_run(12)
    deliver(runs, [october])
    assert store.where() == {october.prediction_id: EXPERIMENT}
    place = store.client().get_experiment_by_name(EXPERIMENT)
    deliver(runs, [november])
    late = a_run(10, 31)
    deliver(store.door(name), [late])
    deliver(runs, [december])
    early = a_run(8)
    deliver(runs, [early])
    assert store.where() == {
        early.prediction_id: f"{EXPERIMENT}-2026-08",
        october.prediction_id: f"{EXPERIMENT}-2026-10",
        late.prediction_id: f"{EXPERIMENT}-2026-10",
        november.prediction_id: f"{EXPERIMENT}-2026-11",
        december.prediction_id: EXPERIMENT,
    }
    moved = store.client().get_experiment_by_name(f"{EXPERIMENT}-2026-10")
    assert (moved.experiment_id, moved.artifact_location) == (
        place.experiment_id,
        place.artifact_location,
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("other", NAMES)
@pytest.mark.parametrize("monthly", [True, False])
def test_every_look_sees_all_months(store: Store, name: str, other: str, *, monthly: bool) -> None:
    drafts = [a_run(10), a_run(11), a_run(12)]
    for one in drafts:
        deliver(store.door(name), [one])
    wanted = [one.prediction_id for one in drafts]
    runs = store.door(other, monthly=monthly)
    assert sorted(runs.look_for(wanted)) == wanted
    assert sorted(runs.all_ids()) == wanted
    assert sorted((one.draft for one in runs.read(wanted)), key=by_id) == drafts
    assert sums(store.uri)["runs"] == len(drafts)
    assert len(store_file.our_experiments(store.folder / "mlflow.db")) == len(drafts)
    at = datetime(2026, 12, 31, tzinfo=UTC)
    assert MlflowEraser(store.uri).erase(wanted[0], at)["runs"] == 1


def test_a_backup_without_runs_has_none_of_any_month(store: Store) -> None:
    for one in (a_run(10), a_run(11), a_run(12)):
        deliver(store.door("bulk"), [one])
    client = store.client()
    (kept,) = client.search_runs(
        [client.get_experiment_by_name(f"{EXPERIMENT}-2026-10").experiment_id]
    )
    client.set_tag(kept.info.run_id, "mine", "worth a look")
    store_file.copy_kept(store.folder / "mlflow.db", store.folder / "copy.db")
    with closing(sqlite3.connect(store.folder / "copy.db")) as copy:
        assert copy.execute("select name from runs").fetchall() == [(kept.info.run_name,)]


def test_two_who_begin_at_once_take_the_experiment_that_one_of_them_makes(store: Store) -> None:
    client, artifacts = store.client(), str(store.folder / "artifacts")

    class Late:
        """Looks before the other makes it, and creates after."""

        def __init__(self) -> None:
            self.id = ""

        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def get_experiment_by_name(self, name: str) -> Any:
            if not self.id:
                self.id = ensure(client, artifacts, name).id
                return None
            return client.get_experiment_by_name(name)

    late = Late()
    found = ensure(late, artifacts)
    assert found.id == late.id
    assert [one.name for one in client.search_experiments()].count(EXPERIMENT) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_rename_that_was_cut_off_is_finished(store: Store, name: str) -> None:
    deliver(store.door(name), [a_run(10)])
    client = store.client()
    before = client.get_experiment_by_name(EXPERIMENT).experiment_id
    client.rename_experiment(before, f"{EXPERIMENT}-2026-10")
    november = a_run(11)
    deliver(store.door(name), [november, a_run(10, 30)])
    assert store.where()[november.prediction_id] == EXPERIMENT
    assert sorted(store.where().values()) == [EXPERIMENT, *[f"{EXPERIMENT}-2026-10"] * 2]


def test_runs_from_before_the_option_stay_where_they_are(store: Store) -> None:
    old, new = a_run(9), a_run(11)
    deliver(store.door("bulk", monthly=False), [old])
    runs = store.door("bulk")
    deliver(runs, [new])
    (seen,) = runs.look_for([old.prediction_id])[old.prediction_id]
    assert set(runs.deliver([old], {old.prediction_id: seen.run_id}).values()) == {None}
    assert store.where() == {old.prediction_id: EXPERIMENT, new.prediction_id: EXPERIMENT}
    deliver(runs, [a_run(12)])
    assert store.where()[PredictionId(old.prediction_id)] == f"{EXPERIMENT}-2026-11"


@pytest.mark.parametrize("name", NAMES)
def test_a_month_that_somebody_deleted_is_restored(store: Store, name: str) -> None:
    runs = store.door(name)
    deliver(runs, [a_run(10)])
    deliver(runs, [a_run(11)])
    client = store.client()
    client.delete_experiment(client.get_experiment_by_name(f"{EXPERIMENT}-2026-10").experiment_id)
    deliver(store.door(name), [a_run(10, 20)])
    assert list(store.where().values()).count(f"{EXPERIMENT}-2026-10") == 2


def by_id(one: RunDraft) -> str:
    return one.prediction_id
