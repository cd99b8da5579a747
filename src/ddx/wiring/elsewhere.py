"""What asks cases in the workers of a cluster."""

from __future__ import annotations

from ddx.core.registry import EngineKind
from ddx.ports import Workers
from ddx.services.pieces import WorkersAsker, WorkersEngine
from ddx.settings import Settings
from ddx.wiring import work
from ddx.wiring.cluster import Cluster
from ddx.wiring.serving import Engines

LINES = 16
"""Cases of a piece: some tenths of a second of the knowledge engine, and what a machine's death
loses."""
_LEAST_PIECES = 32
"""Pieces that wait or are worked on: a cluster that grows on demand sees that there is some."""


def asker(
    settings: Settings, cluster: Cluster, engines: Engines, model: str, concurrency: int
) -> tuple[WorkersAsker, int]:
    """Return what asks cases of an evaluation, and how many to ask it at a time.

    `concurrency` is how many cases one worker asks at a time: for LLMs, which are waited for.
    Raises MissingExtra, ClusterUnavailable.
    """
    waits = settings.models[model].engine is EngineKind.DSPY
    lines = concurrency if waits else LINES
    setup = work.setup_of(settings, engines, model, concurrency if waits else 1)
    workers = cluster.connected().workers(work.asked, setup)
    return WorkersAsker(workers, lines), lines * max(2 * workers.slots, _LEAST_PIECES)


def engine(
    settings: Settings, cluster: Cluster, engines: Engines, model: str
) -> tuple[WorkersEngine, Workers]:
    """Return an engine that answers elsewhere, and its workers. Raises as `asker` does."""
    setup = work.setup_of(settings, engines, model)
    workers = cluster.connected().workers(work.answered, setup)
    return WorkersEngine(workers), workers
