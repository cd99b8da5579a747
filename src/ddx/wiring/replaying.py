"""Replay of logged cases, from settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing

from ddx.adapters.sqlite_journal import SqliteJournalReader, find_journals
from ddx.core.record import Prediction, PredictionId
from ddx.core.replay import Change, Replay, replayed
from ddx.errors import PredictionNotFound, UnfinishedPrediction
from ddx.settings import Settings
from ddx.wiring.serving import commanded, registry
from ddx.wiring.vaults import vault


def replay(
    settings: Settings,
    ids: Sequence[str],
    change: Change,
    *,
    concurrency: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005
) -> list[Replay]:
    """Ask these cases again; each is a prediction of its own, kept and delivered as any other.

    `progress` is told (done, of how many). Nothing is asked unless every id is there and can be
    asked. Raises PredictionNotFound, Erased, UnfinishedPrediction, UnknownModel, UnknownPrompt,
    ModelNotConfigured, JournalUnavailable.
    """
    from ddx.adapters.knowledge.names import name_key

    logged = [find(settings, id) for id in dict.fromkeys(ids)]
    for one in logged:
        if one.completion is None:
            raise UnfinishedPrediction(f"prediction {one.id} has no outcome yet")
        refusal = registry(settings).refusal(change.applied(one.request))
        if refusal is not None:
            raise refusal
    new = asyncio.run(_ask(settings, logged, change, concurrency, progress))
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


async def _ask(
    settings: Settings,
    logged: Sequence[Prediction],
    change: Change,
    concurrency: int,
    progress: Callable[[int, int], None],
) -> list[Prediction]:
    done = 0
    free = asyncio.Semaphore(concurrency)
    with commanded(settings) as service:

        async def again(old: Prediction) -> Prediction:
            nonlocal done
            async with free:
                request = change.applied(old.request)
                new = await service.predict(request, "command line", replay_of=old.id)
            done += 1
            progress(done, len(logged))
            return new

        return list(await asyncio.gather(*map(again, logged)))
