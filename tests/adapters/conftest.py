from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.tracking_server import Stores


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's SQLite file with its tables, as the server makes it at its first start."""
    pytest.importorskip("mlflow", reason="needs the extra `tracking`")
    from mlflow.store.db.utils import _initialize_tables
    from sqlalchemy import create_engine

    path = tmp_path_factory.mktemp("schema") / "mlflow.db"
    engine = create_engine(f"sqlite:///{path}")
    _initialize_tables(engine)
    engine.dispose()
    return path


@pytest.fixture
def stores(empty_database: Path, tmp_path: Path) -> Stores:
    """MLflow's stores without a server."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return Stores(
        db_uri=f"sqlite:///{tmp_path / 'mlflow.db'}", artifacts_path=str(tmp_path / "artifacts")
    )
