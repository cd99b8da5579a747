"""Erasure, from settings."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from ddx.adapters.sqlite_journal import destroy_key
from ddx.adapters.system import SystemClock
from ddx.services.erase import Certificate, Target, erase, targets
from ddx.settings import Settings
from ddx.wiring.doors import Journals
from ddx.wiring.evaluation_kept import place
from ddx.wiring.serving import own_journal


def wanted(settings: Settings, ids: Sequence[str], trackers: Sequence[str]) -> list[Target]:
    """Return what would be erased; see services.erase.targets."""
    with closing(Journals(settings)) as journals:
        return targets(journals(), frozenset(ids), frozenset(trackers))


def erased(settings: Settings, found: Sequence[Target]) -> Certificate:
    """Erase these for ever. Raises JournalUnavailable, MissingExtra."""
    from ddx.adapters.mlflow_runs.erasing import MlflowEraser

    runs = MlflowEraser(place(settings)[0])
    with closing(own_journal(settings)) as own:
        return erase(
            found,
            own=own,
            destroy=lambda one: destroy_key(settings.data, one.instance, one.id),
            runs=runs,
            now=SystemClock().now(),
        )
