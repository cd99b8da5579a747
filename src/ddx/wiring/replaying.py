"""Replay of logged cases, from settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import closing

from ddx.adapters.sqlite_journal import SqliteJournalReader, find_journals
from ddx.core.pieces import answers
from ddx.core.record import Prediction, PredictionId
from ddx.core.registry import Model
from ddx.core.replay import Change, Replay, replayed
from ddx.errors import PredictionNotFound, UnfinishedPrediction
from ddx.ports import Engine
from ddx.settings import Settings
from ddx.wiring import elsewhere
from ddx.wiring.cluster import PROCESS, RAY, Cluster
from ddx.wiring.serving import Engines, EngineSource, commanded, registry
from ddx.wiring.vaults import vault


def replay(
    settings: Settings,
    ids: Sequence[str],
    change: Change,
    *,
    concurrency: int = 1,
    engine: str = PROCESS,
    progress: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005
) -> list[Replay]:
    """Ask these cases again; each is a prediction of its own, kept and delivered as any other.

    `progress` is told (done, of how many). Nothing is asked unless every id is there and can be
    asked. `engine` is one of `cluster.PLACES`: the journal is written by this process either way,
    before and after each is asked. Raises PredictionNotFound, Erased, UnfinishedPrediction,
    UnknownModel, UnknownPrompt, ModelNotConfigured, JournalUnavailable, ClusterUnavailable,
    NodeRefused.
    """
    from ddx.adapters.knowledge.names import name_key

    logged = [find(settings, id) for id in dict.fromkeys(ids)]
    for one in logged:
        if one.completion is None:
            raise UnfinishedPrediction(f"prediction {one.id} has no outcome yet")
        refusal = registry(settings).refusal(change.applied(one.request))
        if refusal is not None:
            raise refusal
    with Cluster(settings) as cluster:
        source: EngineSource = Engines(settings)
        if engine == RAY:
            models = {change.applied(one.request).model_name for one in logged}
            source = Elsewhere(settings, cluster, models)
            concurrency = max(concurrency, source.slots)
        new = asyncio.run(_ask(settings, source, logged, change, concurrency, progress))
    return [replayed(old, now, name_key) for old, now in zip(logged, new, strict=True)]


def find(settings: Settings, id: str) -> Prediction:
    """Return a record from whichever journal of the data folder holds it.

    Raises PredictionNotFound, and Erased where its key is destroyed.
    """
    keys = vault(settings)
    for instance in find_journals(settings.data):
        with closing(SqliteJournalReader(settings.data, instance, keys)) as reader:
            found = reader.find(PredictionId(id))
        if found is not None:
            return found
    raise PredictionNotFound(f"no journal in {settings.data} holds prediction {id}")


class Elsewhere:
    """Engines in the worker processes of a cluster, ready to answer."""

    def __init__(self, settings: Settings, cluster: Cluster, models: Collection[str]) -> None:
        """Load them there; raises what stands against it, so that nothing is accepted in vain."""
        here = Engines(settings)
        self._engines: dict[str, Engine] = {}
        self.slots = 1
        for model in models:
            self._engines[model], workers = elsewhere.engine(settings, cluster, here, model)
            self.slots = workers.slots
            for came in [workers.submit(b"") for _ in range(workers.slots)]:
                answers(came.result(), 0)

    def engine_of(self, model: Model) -> Engine:
        """Return the engine that answers for a model."""
        return self._engines[model.name]


async def _ask(
    settings: Settings,
    source: EngineSource,
    logged: Sequence[Prediction],
    change: Change,
    concurrency: int,
    progress: Callable[[int, int], None],
) -> list[Prediction]:
    done = 0
    free = asyncio.Semaphore(concurrency)
    with commanded(settings, source) as service:

        async def again(old: Prediction) -> Prediction:
            nonlocal done
            async with free:
                request = change.applied(old.request)
                new = await service.predict(request, "command line", replay_of=old.id)
            done += 1
            progress(done, len(logged))
            return new

        return list(await asyncio.gather(*map(again, logged)))
