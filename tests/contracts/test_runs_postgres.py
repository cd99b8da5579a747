"""The bulk door on PostgreSQL keeps the same promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.test_runs import OurIdsContract, a_draft
from tests.postgres import NoPostgres, a_postgres

from ddx.adapters.mlflow_runs import BulkRuns
from ddx.errors import DeliveryRefused
from ddx.ports import Runs


@pytest.fixture(scope="module")
def db_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of its own, with MLflow's tables."""
    try:
        with a_postgres(tmp_path_factory.mktemp("postgres")) as uri:
            yield uri
    except NoPostgres as missing:
        pytest.skip(str(missing))


class TestBulkRunsOnPostgres(OurIdsContract):
    @pytest.fixture
    def runs(self, db_uri: str, tmp_path: Path) -> Iterator[Runs]:
        made = BulkRuns(db_uri, str(tmp_path / "artifacts"), "somebody")
        yield made
        made.close()

    @pytest.mark.parametrize(
        "value", ["x" * 8001, "nul \x00", "half a pair \ud83e"], ids=["long", "nul", "surrogate"]
    )
    def test_a_row_that_it_refuses_does_not_hold_up_the_batch(self, runs: Runs, value: str) -> None:
        good, bad = [a_draft() for _ in range(4)], a_draft()
        bad = replace(bad, params={**bad.params, "llm_model": value})
        results = runs.deliver([*good[:2], bad, *good[2:]], {})
        assert isinstance(results[bad.prediction_id], DeliveryRefused)
        assert set(runs.look_for(list(results))) == {one.prediction_id for one in good}

    def test_a_connection_that_the_server_ended_costs_no_delivery(
        self, runs: Runs, db_uri: str
    ) -> None:
        import psycopg

        first, second = a_draft(), a_draft()
        assert runs.deliver([first], {}) == {first.prediction_id: None}
        with psycopg.connect(db_uri.replace("+psycopg", "")) as other:
            ended = other.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where pid <> pg_backend_pid() and backend_type = 'client backend'"
            ).fetchall()
        assert ended  # the door keeps one
        assert runs.deliver([second], {}) == {second.prediction_id: None}
