"""A backup of an installation while everything runs, and a restored one, from settings.

The journal is the system of record, so a backup is its journals, and of MLflow what does not follow
from them: its database, and the files of other experiments. The runs' files are made again from the
journal. The journals' keys are in a file of their own: without it no record can be read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddx import __version__
from ddx.adapters import archive, last_good, run_index
from ddx.adapters.database_copy import copy_database
from ddx.adapters.mlflow_runs import moving, store_file
from ddx.adapters.mlflow_runs.files import local_path
from ddx.adapters.sqlite_journal import find_journals, last_seq_in
from ddx.adapters.system import SystemClock
from ddx.core.archive import Manifest
from ddx.errors import OutputRefused
from ddx.settings import Settings

KEYS = ".keys"
"""What the name of the file with the keys adds."""
DATA, MLFLOW, ARTIFACTS, SETTINGS = "data", "mlflow.db", "artifacts", "settings"
"""Rooms of a backup."""
_SQLITE = "sqlite:///"
_SECRET = frozenset({"keys", "mlflow_auth", "api_keys.json"})
"""What goes into the second file."""
_REMADE = frozenset({"cache", "logs", "ledger", "journals", "access"}) | _SECRET
"""What of the data is made again, or copied in a way of its own."""
_PASSING = (".lock", ".pid", "-wal", "-shm", ".part")
_STATE = frozenset(
    {
        "delivery.db",
        run_index.NAME,
        "archive",
        "traces.json",
        "last_good.json",
        "migrate-rows.json",
        "migrate-files.json",
    }
)
"""How far things are: not of a restored installation, which looks anew, and brings all runs, those
that were archived too, from its journals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A backup that was made."""

    path: Path
    keys: Path
    manifest: Manifest
    size_bytes: int
    """Of both files."""


def back_up(settings: Settings, path: Path, to: Sequence[str] = ()) -> Made:
    """Make a backup while everything runs, encrypted to `to` and the setting's age recipients.

    Raises OutputRefused, JournalUnavailable, and
    MoveRefused where MLflow's database cannot be read.
    """
    keys = path.with_name(path.name + KEYS)
    now = SystemClock().now().isoformat(timespec="seconds")
    if not path.parent.is_dir():
        raise OutputRefused(f"there is no folder {path.parent}")
    always = [one for one in settings.backup_recipients.split(",") if one.strip()]
    recipients = archive.recipients([*always, *to]) if always or to else []
    with (
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".ddx-backup-") as name,
        archive.Archive(keys, recipients) as secret,
        archive.Archive(path, recipients) as whole,
    ):
        scratch = Path(name)
        # MLflow before the journals: a run is then never there without its record.
        artifacts = _put_mlflow(settings, whole, scratch)
        # Checkpoints, too: one that was signed later would name an event that the copy lacks.
        for file in _rest(settings):
            whole.add(f"{DATA}/{file.relative_to(settings.data)}", file)
        for file in _files(settings.data / "access"):
            if not file.name.endswith(_PASSING):
                whole.add(f"{DATA}/{file.relative_to(settings.data)}", file)
        events = _put_journals(settings, whole, scratch)
        for file in _settings_files(settings):
            whole.add(f"{SETTINGS}/{file.relative_to(settings.home)}", file)
        # The keys after the journals: each is there before its first record.
        for file in _files(settings.data):
            if file.relative_to(settings.data).parts[0] not in _SECRET:
                continue
            secret.add(f"{DATA}/{file.relative_to(settings.data)}", file)
        secret.finish(Manifest(made_at=now, version=__version__, files={}))
        manifest = whole.finish(
            Manifest(
                made_at=now, version=__version__, files={}, events=events, artifacts_path=artifacts
            )
        )
    last_good.note(settings.data, "backup", SystemClock().now())
    size = path.stat().st_size + keys.stat().st_size
    return Made(path=path, keys=keys, manifest=manifest, size_bytes=size)


def store_of(settings: Settings) -> Path | None:
    """Return MLflow's SQLite file, where that is its store."""
    if settings.tracking_uri or not settings.db_uri.startswith(_SQLITE):
        return None
    return Path(settings.db_uri.removeprefix(_SQLITE))


def _put_mlflow(settings: Settings, whole: archive.Archive, scratch: Path) -> str | None:
    if settings.tracking_uri:
        return None
    store, copy = store_of(settings), scratch / MLFLOW
    if store is None:
        # As an SQLite file, too: a backup restores on any machine, and a drill proves all of it.
        moving.move(settings.db_uri, f"{_SQLITE}{copy}", scratch / "moved.json", lambda _: None)
    elif store.is_file():
        copy_database(store, copy)
    else:
        return None
    store_file.strip(copy)
    whole.add(MLFLOW, copy)
    ours = store_file.our_experiments(copy)
    copy.unlink()
    folder = local_path(settings.artifacts_path)
    if folder is not None and folder.is_dir():
        for file in _files(folder):
            name = file.relative_to(folder)
            if name.parts[0] not in ours:
                whole.add(f"{ARTIFACTS}/{name}", file)
    return settings.artifacts_path


def _put_journals(settings: Settings, whole: archive.Archive, scratch: Path) -> dict[str, int]:
    events = {}
    for instance in find_journals(settings.data):
        copy = scratch / f"{instance}.db"
        copy_database(settings.data / "journals" / f"{instance}.db", copy)
        whole.add(f"{DATA}/journals/{instance}.db", copy)
        events[instance] = last_seq_in(copy)
        copy.unlink()
    return events


def _rest(settings: Settings) -> Iterator[Path]:
    for file in _files(settings.data):
        name = file.relative_to(settings.data)
        if name.parts[0] not in _REMADE | _STATE and not file.name.endswith(_PASSING):
            yield file


def _settings_files(settings: Settings) -> Iterator[Path]:
    named = [model.program for model in settings.models.values() if model.program]
    for name in ("ddx.toml", "mlflow_server_config.py", settings.legal_hold, *named):
        file = settings.home / name
        if name and file.is_file() and file.resolve().is_relative_to(settings.home.resolve()):
            yield file


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, in order; what is a link is none."""
    for one in sorted(folder.iterdir()) if folder.is_dir() else ():
        if one.is_symlink():
            continue
        if one.is_dir():
            yield from _files(one)
        elif one.is_file():
            yield one
