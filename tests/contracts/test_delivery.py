"""Delivery through the real doors: a crash at each moment leaves one run, equal to the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from tests.deliver_world import MOMENTS, PowerCut, World
from tests.tracking_server import Tracking

from ddx.adapters.memory_runs import MemoryDeliveryState
from ddx.adapters.mlflow_runs import BulkRuns, ClientRuns
from ddx.core.record import Prediction
from ddx.core.run_draft import draft
from ddx.ports import Runs

pytestmark = pytest.mark.xdist_group("mlflow")
Doors = dict[str, Runs]
both = pytest.mark.parametrize("name", ["client", "bulk"])


@pytest.fixture
def doors(tracking: Tracking) -> Iterator[Doors]:
    made: Doors = {
        "client": ClientRuns(tracking.uri, tracking.artifacts_path, "somebody"),
        "bulk": BulkRuns(tracking.db_uri, tracking.artifacts_path, "somebody"),
    }
    yield made
    for runs in made.values():
        runs.close()


def check(runs: Runs, kept: list[Prediction]) -> None:
    found = [found.draft for found in runs.read([prediction.id for prediction in kept])]
    assert sorted(found, key=lambda one: one.prediction_id) == [draft(one) for one in kept]


@both
@pytest.mark.parametrize("fatal", MOMENTS)
@pytest.mark.parametrize(
    "lose", [World.lose_nothing, World.lose_state], ids=["same state", "state lost"]
)
def test_a_crash_leaves_exactly_one_run_for_each(
    doors: Doors, name: str, fatal: str, lose: Callable[[World], None]
) -> None:
    world = World()
    kept = [world.keep() for _ in range(3)]
    world.fatal = fatal
    with pytest.raises(PowerCut):
        world.deliverer(doors[name]).once()
    lose(world)
    world.deliverer(doors[name]).once()
    check(doors["bulk"], kept)


@pytest.mark.parametrize("fatal", [*MOMENTS, None])
@both
def test_changing_doors_doubles_nothing(doors: Doors, name: str, fatal: str | None) -> None:
    world = World()
    kept = [world.keep() for _ in range(3)]
    world.fatal = fatal
    with suppress(PowerCut):
        world.deliverer(doors[name]).once()
    world.fatal = None
    kept.append(world.keep())
    world.deliverer(doors["bulk" if name == "client" else "client"]).once()
    check(doors["client"], kept)


@both
def test_rebuilding_doubles_nothing_and_fills_what_is_missing(doors: Doors, name: str) -> None:
    runs = doors[name]
    world = World()
    kept = [world.keep() for _ in range(4)]
    world.deliverer(runs).once()
    runs.discard(runs.look_for([kept[1].id])[kept[1].id][0].run_id)
    deliverer = world.deliverer(runs)
    deliverer.rebuild()
    deliverer.once()
    check(runs, kept)


def test_a_state_that_is_lost_costs_no_second_sending(doors: Doors) -> None:
    world = World()
    kept = [world.keep() for _ in range(3)]
    world.deliverer(doors["client"]).once()
    world.state = MemoryDeliveryState()
    world.at = lambda moment: pytest.fail(f"something was {moment}")  # type: ignore[method-assign]
    world.deliverer(doors["client"]).once()
    check(doors["client"], kept)
