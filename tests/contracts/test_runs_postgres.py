"""The bulk door on PostgreSQL keeps the same promises."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.test_runs import OurIdsContract, a_draft
from tests.tracking_server import a_free_port

from ddx.adapters.mlflow_runs import BulkRuns
from ddx.errors import DeliveryRefused
from ddx.ports import Runs

USER = "postgres" if os.geteuid() == 0 else None
"""PostgreSQL refuses to run as root."""


def program(name: str) -> str:
    """Return the newest of PostgreSQL's programs, or skip."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(installed[-1]) if installed else None)
    if found is None:
        pytest.skip(f"needs PostgreSQL: no {name} here")
    return found


@pytest.fixture(scope="module")
def db_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of its own, with MLflow's tables."""
    pytest.importorskip("psycopg", reason="needs psycopg")
    mlflow_utils = pytest.importorskip("mlflow.store.db.utils")
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    folder, port = Path(tmp_path_factory.mktemp("postgres")), a_free_port()
    if USER:
        shutil.chown(folder, USER)
        for above in (folder.parent, folder.parent.parent):
            above.chmod(above.stat().st_mode | 0o011)

    def run(*command: str) -> None:
        subprocess.run(command, user=USER, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    run(initdb, "-D", f"{folder}/data", "-A", "trust", "-U", "ddx")
    listen = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    run(pg_ctl, "-D", f"{folder}/data", "-o", listen, "-l", f"{folder}/log", "-w", "start")
    try:
        from sqlalchemy import create_engine

        engine = create_engine(f"postgresql+psycopg://ddx@127.0.0.1:{port}/postgres")
        mlflow_utils._initialize_tables(engine)
        engine.dispose()
        yield f"postgresql://ddx@127.0.0.1:{port}/postgres"
    finally:
        run(pg_ctl, "-D", f"{folder}/data", "-m", "immediate", "stop")


class TestBulkRunsOnPostgres(OurIdsContract):
    @pytest.fixture
    def runs(self, db_uri: str, tmp_path: Path) -> Iterator[Runs]:
        made = BulkRuns(db_uri, str(tmp_path / "artifacts"), "somebody")
        yield made
        made.close()

    @pytest.mark.parametrize("value", ["x" * 8001, "nul \x00", "half a pair \ud83e"], ids=ascii)
    def test_a_row_that_it_refuses_does_not_hold_up_the_batch(self, runs: Runs, value: str) -> None:
        good, bad = [a_draft() for _ in range(4)], a_draft()
        bad = replace(bad, params={**bad.params, "llm_model": value})
        results = runs.deliver([*good[:2], bad, *good[2:]], {})
        assert isinstance(results[bad.prediction_id], DeliveryRefused)
        assert set(runs.look_for(list(results))) == {one.prediction_id for one in good}
