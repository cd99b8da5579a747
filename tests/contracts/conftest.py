from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.tracking_server import Tracking, a_server


@pytest.fixture(scope="session")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    """One MLflow server for all tests: it takes ten seconds to start."""
    pytest.importorskip("mlflow", reason="needs the extra `tracking`")
    with a_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server
