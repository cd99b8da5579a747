from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ddx.adapters.delivery_state import SqliteDeliveryState
from ddx.adapters.memory_runs import MemoryDeliveryState
from ddx.ports import DeliveryState


@pytest.fixture(params=["memory", "sqlite"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DeliveryState]:
    made = MemoryDeliveryState() if request.param == "memory" else SqliteDeliveryState(tmp_path)
    yield made
    made.close()
