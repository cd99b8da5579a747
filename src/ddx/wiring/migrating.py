"""MLflow's rows and files to another database or object store, from settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ddx.adapters.database_copy import copy_database
from ddx.adapters.database_facts import DatabaseFacts, server_facts, sqlite_facts
from ddx.adapters.delivery_state import DeliveryStatusReader
from ddx.adapters.mlflow_runs import moving, moving_files, upgrading
from ddx.adapters.mlflow_runs.moving import Moved
from ddx.adapters.mlflow_runs.moving_files import MovedFiles
from ddx.adapters.system import SystemClock
from ddx.errors import MoveRefused, TrackerUnavailable
from ddx.settings import Settings
from ddx.settings.stores import check_installed, database
from ddx.wiring import launch, mlflow_place


def migrate_rows(
    settings: Settings, to: str, password_file: str, say: Callable[[str], None]
) -> list[Moved]:
    """Move MLflow's rows into the database `to`, as it is written in mlflow_server_config.py.

    Raises SettingsError, MissingExtra, MoveRefused.
    """
    _check_ours(settings)
    found = {"db_uri": to} | ({"db_password_file": password_file} if password_file else {})
    new = database(found, settings.home)
    if new == settings.db_uri:
        raise MoveRefused("That is the database in use: name another one.")
    check_installed(settings.db_uri, new)
    _check_still(settings)
    return moving.move(settings.db_uri, new, settings.data / "migrate-rows.json", say)


def migrate_files(settings: Settings, say: Callable[[str], None]) -> MovedFiles:
    """Move the files of all runs to `artifacts_path`. Raises MissingExtra, MoveRefused,
    TrackerUnavailable.
    """
    _check_ours(settings)
    check_installed(settings.db_uri, settings.artifacts_path)
    _check_still(settings)
    state = settings.data / "migrate-files.json"
    return moving_files.move_files(settings.db_uri, settings.artifacts_path, state, say)


def check_artifacts(settings: Settings) -> None:
    """Raise MoveRefused where the experiment's files are not below `artifacts_path`."""
    file = launch.sqlite_file(settings)
    if not launch.starts_mlflow(settings) or (file is not None and not file.exists()):
        return
    try:
        found = moving_files.root_in_use(settings.db_uri)
    except TrackerUnavailable:
        return  # no tables yet, or no database: MLflow's start says what is wrong
    if found is not None and moving_files.bare(found) != moving_files.bare(settings.artifacts_path):
        raise MoveRefused(
            f"artifacts_path is {settings.artifacts_path}, and the experiment's files are in"
            f" {found}, where MLflow would go on to keep them. Move them with everything stopped:"
            " ddx migrate --artifacts; or set artifacts_path back."
        )


def status(settings: Settings) -> tuple[DatabaseFacts, str]:
    """Return what the database says, and the revision that the installed MLflow works with."""
    file = launch.sqlite_file(settings)
    if file is None:
        found = server_facts(settings.db_uri)
    elif file.exists():
        found = sqlite_facts(file)
    else:
        found = DatabaseFacts(trouble="it does not exist yet: the first `ddx up` makes it")
    return found, upgrading.wanted()


def upgrade(settings: Settings, *, backed_up: bool) -> Path | None:
    """Bring MLflow's tables to the installed MLflow's revision; return the copy made before.

    A copy of an SQLite file is made by itself; of another database `backed_up` says that there is
    one. Raises MoveRefused, OutputRefused.
    """
    _check_ours(settings)
    check_installed(settings.db_uri)
    _check_still(settings)
    file, copy = launch.sqlite_file(settings), None
    if file is None and not backed_up:
        raise MoveRefused(
            "An upgrade cannot be undone. Make a dump first (pg_dump, mysqldump), then say so:"
            " ddx db upgrade --backed-up"
        )
    if file is not None and file.exists():
        moment = SystemClock().now().strftime("%Y%m%dT%H%M%S")
        copy = file.with_name(f"{file.stem}-before-{moment}{file.suffix}")
        copy_database(file, copy)
    upgrading.upgrade(settings.db_uri)
    return copy


def _check_ours(settings: Settings) -> None:
    if not launch.starts_mlflow(settings):
        raise MoveRefused(
            "tracking_uri names another MLflow: its database and files are its operator's to move."
        )


def _check_still(settings: Settings) -> None:
    """Raise MoveRefused where MLflow or a deliverer could write."""
    if DeliveryStatusReader(settings.data).holder() is not None:
        raise MoveRefused("Somebody delivers: stop `ddx up` or `ddx deliver` first.")
    if mlflow_place.missing(settings) is None:
        raise MoveRefused(
            f"MLflow answers on port {settings.mlflow_port}: stop it first. The server can go on:"
            " its journal keeps what comes."
        )
