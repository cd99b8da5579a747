"""An installation with delivered predictions, for backups; each test has stores of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.backups import CANARY, Cli, told
from tests.make import a_feedback
from tests.tracking_server import Tracking, a_server

from ddx.adapters.sqlite_journal import SqliteJournal
from ddx.cli import run
from ddx.core.record import Prediction
from ddx.settings import Settings
from ddx.wiring.delivering import deliver


@pytest.fixture(scope="module")
def made_by_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    with a_server(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


@pytest.fixture
def tracking(made_by_mlflow: Tracking, tmp_path: Path) -> Tracking:
    """A store of its own, with the tables that MLflow's server made."""
    empty = made_by_mlflow.db_uri.removeprefix("sqlite:///")
    shutil.copy(empty, tmp_path / "mlflow.db")
    (tmp_path / "artifacts").mkdir()
    return replace(
        made_by_mlflow,
        db_uri=f"sqlite:///{tmp_path / 'mlflow.db'}",
        artifacts_path=str(tmp_path / "artifacts"),
    )


@pytest.fixture
def home(tmp_path: Path, tracking: Tracking) -> tuple[Settings, list[Prediction]]:
    """Three predictions, delivered, one with feedback; an evaluation's file beside the runs."""
    from tests.wiring.test_tracing import at

    folder = tmp_path / "home"
    folder.mkdir()
    loaded = at(folder, tracking)
    made = [told() for _ in range(3)]
    with closing(SqliteJournal(loaded.data, "main")) as journal:
        for one in made:
            journal.accept(one, None).result()
        journal.add_feedback(made[0].id, a_feedback(true_diagnosis=CANARY)).result()
    deliver(loaded, once=True)
    other = Path(tracking.artifacts_path) / "77" / "report.txt"
    other.parent.mkdir()
    other.write_text("figures")
    return loaded, made


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    def run_it(loaded: Settings, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setenv("DDX_HOME", str(loaded.home))
        code = run([*map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_it
