"""What delivery and its like read and write: all journals, and the door into MLflow."""

from __future__ import annotations

import getpass
import logging
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from functools import partial
from itertools import count

from ddx.adapters.sqlite_journal import SqliteJournalReader, find_journals
from ddx.adapters.sqlite_journal.store import Paths
from ddx.errors import DatabaseUnavailable, DdxError, TrackerUnavailable, UntestedSchema
from ddx.ports import JournalReader, Runs
from ddx.settings import Settings
from ddx.settings.stores import check_installed
from ddx.wiring import mlflow_login, mlflow_place, vaults

log = logging.getLogger("ddx")
DOOR_WAIT_S = 0.5
DOOR_TRIES_ONCE = 20
"""Ten seconds where a person waits for the command to end."""


class Journals:
    """The readers of all journals in a data folder, opened as they appear."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._vault = settings, vaults.vault(settings)
        self._open: dict[str, SqliteJournalReader] = {}
        self._opening = threading.Lock()

    def __call__(self) -> Sequence[JournalReader]:
        """Return a reader for each journal that is there now."""
        data = self._settings.data
        with self._opening:
            for instance in find_journals(data):
                if instance not in self._open and Paths(data, instance).keys.exists():
                    # A journal that is just being made is met again at the next look.
                    with suppress(DdxError):
                        self._open[instance] = SqliteJournalReader(data, instance, self._vault)
            return list(self._open.values())

    def readers(self) -> Sequence[SqliteJournalReader]:
        """Return them with all that a file can do."""
        self()
        return list(self._open.values())

    def close(self) -> None:
        """Let go of the files."""
        with self._opening:
            for reader in self._open.values():
                reader.close()


def door(settings: Settings, stop: threading.Event, tries: int | None = None) -> Runs:
    """Return the door into MLflow that the settings and the database allow.

    Waits for MLflow to make its database: `tries` times DOOR_WAIT_S, or for ever. Raises
    UntestedSchema where `delivery` is "bulk" and the database has another form, DatabaseUnavailable
    where it was waited for in vain, and MissingExtra.
    """
    from ddx.adapters.mlflow_runs import BulkRuns, ClientRuns

    mlflow_login.come_in(settings)
    user, pages = _user(), settings.public_url or settings.server_url
    trouble: TrackerUnavailable | None = None
    monthly = settings.experiment_period == "month"
    if settings.delivery == "client" or (settings.tracking_uri and settings.delivery == "auto"):
        # A foreign server chooses where its files are.
        ours = settings.artifacts_path if not settings.tracking_uri else None
        check_installed(settings.tracking_uri)
        folder = settings.experiments_in
        return ClientRuns(settings.mlflow_uri, ours, user, pages, folder, monthly=monthly)
    check_installed(settings.db_uri, settings.artifacts_path)
    bulk = BulkRuns(settings.db_uri, settings.artifacts_path, user, pages, monthly=monthly)
    by_client = partial(
        ClientRuns, settings.mlflow_uri, settings.artifacts_path, user, pages, monthly=monthly
    )
    for _ in range(tries) if tries is not None else count():
        # Asked before the schema: MLflow makes or migrates its tables before it answers, and a
        # schema in the middle of that is no reason to take the other door.
        answers = mlflow_place.missing(settings) is None
        try:
            bulk.check()
        except (TrackerUnavailable, UntestedSchema) as error:
            untested = isinstance(error, UntestedSchema)
            if untested and settings.delivery == "bulk":
                raise
            trouble = error
            # Where MLflow answers, its tables are as they will be. A database that MLflow does not
            # reach either is waited for.
            if answers and (not isinstance(error, DatabaseUnavailable) or _reads(by_client())):
                break
        else:
            return bulk
        if stop.wait(DOOR_WAIT_S):
            return bulk
    else:
        if isinstance(trouble, DatabaseUnavailable):
            bulk.close()
            raise trouble
    said = "MLflow's tables cannot be written; its own client is used"
    log.warning(said, extra={"event": "client_door", "why": str(trouble)})
    bulk.close()
    return by_client()


def _reads(client: Runs) -> bool:
    """Whether MLflow gets at its runs. Closes the door that it asks through."""
    with closing(client), suppress(DdxError):
        next(iter(client.all_ids()), None)
        return True
    return False


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "ddx"
