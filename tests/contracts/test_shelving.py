"""Both doors take runs out of a real MLflow and put them back as they were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any

import pytest
from tests.make import finished
from tests.postgres import NoPostgres, a_postgres
from tests.tracking_server import Tracking

from ddx.adapters.mlflow_runs import BulkRuns, ClientRuns
from ddx.adapters.mlflow_runs.shelving import BulkShelving, ClientShelving
from ddx.core.record import Prediction
from ddx.core.run_draft import draft

pytestmark = pytest.mark.xdist_group("mlflow")


@pytest.fixture(params=["bulk", "client", "postgresql"])
def doors(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, Any]]:
    with ExitStack() as stack:
        if request.param == "postgresql":
            try:
                uri = stack.enter_context(a_postgres(tmp_path_factory.mktemp("postgres")))
            except NoPostgres as error:
                pytest.skip(str(error))
            artifacts = str(tmp_path_factory.mktemp("artifacts"))
        else:
            tracking: Tracking = request.getfixturevalue("tracking")
            uri, artifacts = tracking.db_uri, tracking.artifacts_path
        if request.param == "client":
            runs: Any = stack.enter_context(closing(ClientRuns(tracking.uri, artifacts, "me")))
            yield runs, stack.enter_context(closing(ClientShelving(tracking.uri, runs)))
        else:
            runs = stack.enter_context(closing(BulkRuns(uri, artifacts, "me")))
            yield runs, stack.enter_context(closing(BulkShelving(uri, runs)))


def deliver(runs: Any, kept: Sequence[Prediction]) -> None:
    drafts = [draft(one) for one in kept]
    if runs.chooses_ids:
        assert set(runs.deliver(drafts, {}).values()) == {None}
        return
    for one in drafts:
        runs.fill(runs.open(one), one)


def test_runs_go_and_come_back_as_they_were(doors: tuple[Any, Any]) -> None:
    runs, shelving = doors
    kept = [finished() for _ in range(3)]
    ids = [one.id for one in kept]
    deliver(runs, kept)
    rows = shelving.rows(ids)
    assert set(rows) == set(ids)

    assert set(shelving.remove(list(rows.values()))) == set(ids)
    assert not runs.look_for(ids)
    assert not shelving.rows(ids)

    raws = [one.raw for one in rows.values()]
    shelving.put_back(raws)
    shelving.put_back(raws)
    assert shelving.rows(ids) == rows
    found = [one.draft for one in runs.read(ids)]
    assert sorted(found, key=lambda one: one.prediction_id) == [draft(one) for one in kept]


def test_a_run_that_is_not_as_it_was_stays(doors: tuple[Any, Any]) -> None:
    runs, shelving = doors
    kept = [finished() for _ in range(2)]
    deliver(runs, kept)
    rows = shelving.rows([one.id for one in kept])
    changed = rows[kept[0].id]
    fields = {name: getattr(changed, name) for name in changed.__slots__}
    other = type(changed)(**{**fields, "raw": changed.raw + " "})
    assert list(shelving.remove([other, rows[kept[1].id]])) == [kept[1].id]
    assert list(runs.look_for([one.id for one in kept])) == [kept[0].id]


def test_what_the_client_archived_comes_back_through_the_tables(tracking: Tracking) -> None:
    kept = [finished() for _ in range(2)]
    ids = [one.id for one in kept]
    with (
        closing(ClientRuns(tracking.uri, tracking.artifacts_path, "me")) as client,
        closing(BulkRuns(tracking.db_uri, tracking.artifacts_path, "me")) as bulk,
        closing(BulkShelving(tracking.db_uri, bulk)) as tables,
    ):
        deliver(client, kept)
        shelving = ClientShelving(tracking.uri, client)
        rows = shelving.rows(ids)
        shelving.remove(list(rows.values()))
        assert not bulk.look_for(ids)
        tables.put_back([one.raw for one in rows.values()])
        assert shelving.rows(ids) == rows
