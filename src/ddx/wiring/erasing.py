"""Erasure, from settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial

from ddx.adapters.run_index import RunIndex
from ddx.adapters.sqlite_journal import destroy_key
from ddx.adapters.system import SystemClock
from ddx.core.record import PredictionId
from ddx.errors import SettingsError
from ddx.services.erase import Certificate, Target, aged, erase, targets
from ddx.settings import Settings
from ddx.wiring.doors import Journals
from ddx.wiring.evaluation_kept import place
from ddx.wiring.serving import own_journal
from ddx.wiring.sharing import forget
from ddx.wiring.vaults import vault


def wanted(settings: Settings, ids: Sequence[str], trackers: Sequence[str]) -> list[Target]:
    """Return what would be erased; see services.erase.targets."""
    with closing(Journals(settings)) as journals:
        return targets(journals(), frozenset(ids), frozenset(trackers), holds(settings))


def old(settings: Settings, days: int) -> tuple[list[Target], int]:
    """Return what is older than so many days, and how many of that age are on hold."""
    before = SystemClock().now() - timedelta(days=days)
    with closing(Journals(settings)) as journals:
        return aged(journals(), before, holds(settings))


class _WithArchive:
    """Erases what MLflow holds, and the files of a run that is archived.

    The archive's line is sealed under the record's key, which is destroyed before.
    """

    def __init__(self, settings: Settings) -> None:
        from ddx.adapters.mlflow_runs.erasing import MlflowEraser

        tracking_uri, _, folder = place(settings)
        self._index = RunIndex(settings.data)
        self._runs = MlflowEraser(tracking_uri, folder)
        self.remains = self._runs.remains

    def erase(self, id: PredictionId, at: datetime) -> Mapping[str, int]:
        """Erase it; see ports.RunEraser."""
        done = dict(self._runs.erase(id, at))
        found = self._index.find([id]).get(id)
        if found is not None:
            if found.artifact_uri:
                done["files"] += self._runs.remove_files(found.artifact_uri)
            self._index.without_files(id)
            done["archived"] = 1
        return done


def holds(settings: Settings) -> frozenset[str]:
    """Return the ids and trackers that nothing erases. Raises SettingsError."""
    if not settings.legal_hold:
        return frozenset()
    path = settings.home / settings.legal_hold
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        kind = type(error).__name__
        raise SettingsError(f"legal_hold: {path} cannot be read ({kind})") from None
    names = (line.partition("#")[0].strip() for line in lines)
    return frozenset(name for name in names if name)


def erased(settings: Settings, found: Sequence[Target]) -> Certificate:
    """Erase these for ever. Raises JournalUnavailable, MissingExtra."""
    runs, keys = _WithArchive(settings), vault(settings)
    with closing(own_journal(settings)) as own:
        return erase(
            found,
            own=own,
            destroy=lambda one: destroy_key(settings.data, one.instance, one.id, keys),
            forget=partial(forget, settings),
            runs=runs,
            now=SystemClock().now(),
        )
