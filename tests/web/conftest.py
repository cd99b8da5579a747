"""A server in this process, with its real journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from ddx import settings
from ddx.web.api import create_app
from ddx.web.state import Server

ENVIRONMENT = {"DDX_BENCH_MODELS": "1", "DDX_DEFAULT_MODEL": "instant"}


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(settings.load(ENVIRONMENT, home=tmp_path))


@pytest.fixture
def client(server: Server) -> Iterator[TestClient]:
    with TestClient(create_app(server), raise_server_exceptions=False) as client:
        yield client
