from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.tracking_server import Stores


@pytest.fixture
def stores(empty_database: Path, tmp_path: Path) -> Stores:
    """MLflow's stores without a server."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return Stores(
        db_uri=f"sqlite:///{tmp_path / 'mlflow.db'}", artifacts_path=str(tmp_path / "artifacts")
    )
