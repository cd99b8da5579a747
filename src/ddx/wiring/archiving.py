"""The archive of old runs, from settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta

from ddx.adapters.delivery_state import DeliveryStatusReader
from ddx.adapters.run_index import RunIndex
from ddx.adapters.system import SystemClock
from ddx.core.delivery import State
from ddx.core.record import PredictionId
from ddx.core.run_draft import RunDraft
from ddx.errors import PredictionNotFound
from ddx.services.archive import Archiver, Done, Moment
from ddx.settings import Settings
from ddx.wiring.doors import Journals, door

FOLDER = "archive"
"""Where it is below the data, unless the setting says otherwise."""


def archive(
    settings: Settings,
    days: int,
    *,
    dry_run: bool,
    progress: Callable[[int], None],
    at: Moment = lambda name: None,  # noqa: ARG005
) -> Done:
    """Archive what is older than so many days and delivered.

    Raises TrackerUnavailable, DeliveryRefused, ArchiveDamaged, JournalUnavailable.
    """
    state = DeliveryStatusReader(settings.data)
    # Before the cursors: a delivery is noted with the cursor's move over it.
    cursors = state.status().cursors
    aside = {one.prediction_id for one in state.deliveries(frozenset(State), 1_000_000)}
    before = SystemClock().now() - timedelta(days=days)
    with archiver(settings, at) as found:
        return found.archive(before, cursors, aside, dry_run=dry_run, progress=progress)


def restore(
    settings: Settings,
    ids: Sequence[str],
    at: Moment = lambda name: None,  # noqa: ARG005
) -> int:
    """Bring these back, or all where none is named. Raises PredictionNotFound."""
    wanted = [PredictionId(id) for id in ids]
    missing = set(wanted) - set(RunIndex(settings.data).find(wanted))
    if missing:
        raise PredictionNotFound(f"not in the archive: {', '.join(sorted(missing))}")
    with archiver(settings, at) as found:
        return found.restore(wanted or None)


@contextmanager
def archiver(
    settings: Settings,
    at: Moment = lambda name: None,  # noqa: ARG005
) -> Iterator[Archiver]:
    """Yield what archives through the door that the settings allow."""
    from ddx.adapters.mlflow_runs import BulkRuns, ClientRuns
    from ddx.adapters.mlflow_runs.shelf_files import ShelfFiles
    from ddx.adapters.mlflow_runs.shelving import BulkShelving, ClientShelving

    with (
        closing(Journals(settings)) as journals,
        closing(door(settings, threading.Event(), tries=1)) as runs,
    ):
        if isinstance(runs, BulkRuns):
            store: BulkShelving | ClientShelving = BulkShelving(settings.db_uri, runs)
        else:
            assert isinstance(runs, ClientRuns)  # noqa: S101  (there are two doors)
            store = ClientShelving(settings.mlflow_uri, runs)
        with closing(store):
            yield Archiver(
                journals=journals.readers(),
                runs=store,
                shelf=ShelfFiles(place(settings)),
                index=RunIndex(settings.data),
                at=at,
            )


def place(settings: Settings) -> str:
    """Return where the archive is: a folder's path, or an address."""
    uri = settings.archive_uri
    return uri if "://" in uri else str(settings.home / uri)


def said_when_archived(
    settings: Settings,
) -> Callable[[Collection[PredictionId]], Mapping[PredictionId, int]]:
    """Return what says of archived runs how often something had been said of them."""
    index = RunIndex(settings.data)
    return lambda ids: {id: one.said for id, one in index.find(ids).items()}


class ArchivedRuns:
    """Archived runs, for comparison with their records."""

    def __init__(self, settings: Settings, found: Archiver) -> None:
        self._index = RunIndex(settings.data)
        self._archiver = found

    def find(self, ids: Collection[PredictionId]) -> Collection[PredictionId]:
        """Return those that are archived."""
        return self._index.find(ids).keys()

    def read(self, ids: Collection[PredictionId]) -> Iterator[RunDraft]:
        """Return archived runs with their files. Raises ArchiveDamaged, TrackerUnavailable."""
        from ddx.adapters.mlflow_runs import files
        from ddx.adapters.mlflow_runs.form import found_draft
        from ddx.adapters.mlflow_runs.shelving import draft_parts

        for raw in self._archiver.opened(self._index.find(ids)).values():
            if raw is not None:
                parts = draft_parts(raw)
                yield found_draft(files=files.load(parts.pop("artifact_uri")), **parts)
