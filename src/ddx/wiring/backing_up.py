"""A backup of an installation while everything runs, from settings: whole, or what came since.

The journal is the system of record, so a backup is its journals, and of MLflow what does not follow
from them: its database without the predictions' runs, unless people put something to one, and the
files of other experiments. The runs are made again from the journal. The journals' keys are in a
file of their own: without it no record can be read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ddx import __version__
from ddx.adapters import archive, backups_made, last_good, run_index
from ddx.adapters.database_copy import copy_database, delete_copy
from ddx.adapters.mlflow_runs import moving, store_file
from ddx.adapters.mlflow_runs.files import local_path
from ddx.adapters.sqlite_journal import copy_later, find_journals, tail
from ddx.adapters.system import SystemClock
from ddx.core.archive import Entry, Manifest, Sealed, Tail
from ddx.errors import OutputRefused
from ddx.settings import Settings
from ddx.wiring import archiving, backup_chains
from ddx.wiring.vaults import vault

KEYS = ".keys"
"""What the name of the file with the keys adds."""
CLAIMS = "claims.db"
DATA, LATER, MLFLOW, ARTIFACTS, SETTINGS = "data", "later", "mlflow.db", "artifacts", "settings"
"""Rooms of a backup; an increment has the later events of a journal in `later`."""
_SQLITE = "sqlite:///"
_SCRATCH = ".ddx-backup-"
_SECRET = frozenset({"keys", "mlflow_auth", "api_keys.json"})
"""What goes into the second file."""
_REMADE = frozenset({"cache", "logs", "ledger", "journals", "access", "run", CLAIMS}) | _SECRET
"""What of the data is made again, or copied in a way of its own."""
_PASSING = (".lock", ".pid", "-wal", "-shm", ".part")
_STATE = frozenset(
    {
        "delivery.db",
        run_index.NAME,
        archiving.FOLDER,
        "traces.json",
        "last_good.json",
        "migrate-rows.json",
        "migrate-files.json",
        backups_made.FOLDER,
    }
)
"""How far things are: not of a restored installation, which looks anew. The archive and its index
are copied in a way of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A backup that was made."""

    path: str
    keys: str
    manifest: Manifest
    size_bytes: int
    """Of both files."""


def back_up(
    settings: Settings,
    path: str,
    to: Sequence[str] = (),
    *,
    keys_to: str | None = None,
    since: str | None = None,
    identity: Path | None = None,
) -> Made:
    """Make a backup while everything runs, encrypted to `to` and the setting's age recipients.

    `keys_to` names the second file, or the folder for it. With `since` it is an increment, which
    holds what came after that backup; `identity` opens one that was made elsewhere. Raises
    OutputRefused, BadBackup, JournalUnavailable, and where MLflow's database cannot be read,
    DatabaseUnavailable or MoveRefused.
    """
    now = SystemClock().now()
    place, keys = archive.place(path), archive.place(_keys(path, keys_to))
    before = backup_chains.previous(settings, since, identity) if since else None
    always = [one for one in settings.backup_recipients.split(",") if one.strip()]
    recipients = archive.recipients([*always, *to]) if always or to else []
    with (
        archive.Archive(keys, recipients) as secret,
        archive.Archive(place, recipients, _earlier(before)) as whole,
        tempfile.TemporaryDirectory(dir=_scratch(settings, place), prefix=_SCRATCH) as name,
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
        journals = _put_journals(settings, whole, scratch, before)
        _put_claims(settings, whole, scratch)
        if artifacts is not None:
            _put_archive(settings, whole, scratch)
        for file in _settings_files(settings):
            whole.add(f"{SETTINGS}/{file.relative_to(settings.home)}", file)
        # The keys after the journals: each is there before its first record. All of them, in an
        # increment, too: what was erased must be gone from the newest.
        with vault(settings).steady():  # the wrapped keys and what they are wrapped under, as one
            for file in _files(settings.data):
                kept = file.relative_to(settings.data)
                if kept.parts[0] in _SECRET and not file.name.endswith(_PASSING):
                    secret.add(f"{DATA}/{kept}", file)
        made_at = now.isoformat(timespec="seconds")
        told = Manifest(
            made_at=made_at,
            version=__version__,
            files={},
            journals=journals,
            artifacts_path=artifacts,
            chain=(*before.manifest.chain, before.link) if before else (),
        )
        secret.finish(Manifest(made_at=made_at, version=__version__, files={}))
        try:
            sealed = whole.finish(told)
        except OutputRefused:
            with suppress(OSError):
                keys.remove()
            raise
    last_good.note(settings.data, "backup", SystemClock().now())
    sizes = [one.size() or 0 for one in (place, keys)]
    backups_made.note(
        settings.data,
        backups_made.Made(
            place=place.said, bytes=sizes[0], manifest=sealed.manifest.encode().decode()
        ),
        now.strftime("%Y%m%dT%H%M%S%f"),
    )
    return Made(path=place.said, keys=keys.said, manifest=sealed.manifest, size_bytes=sum(sizes))


def store_of(settings: Settings) -> Path | None:
    """Return MLflow's SQLite file, where that is its store."""
    if settings.tracking_uri or not settings.db_uri.startswith(_SQLITE):
        return None
    return Path(settings.db_uri.removeprefix(_SQLITE))


def _keys(path: str, keys_to: str | None) -> str:
    if keys_to is None:
        return path + KEYS
    if keys_to.endswith("/") or ("://" not in keys_to and Path(keys_to).is_dir()):
        return f"{keys_to.rstrip('/')}/{archive.place(path).name}{KEYS}"
    return keys_to


def _scratch(settings: Settings, place: archive.Place) -> Path:
    """Return where SQLite's copies are while they go in: on the disk of the backup, where it is
    on one.
    """
    if "://" in place.said:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        return settings.data
    return Path(place.said).parent


def _earlier(before: Sealed | None) -> Mapping[str, Entry]:
    """Return the files that need not be put in again where they are as they were."""
    if before is None:
        return {}
    known = {**before.manifest.files, **before.manifest.kept}
    rows = (f"{LATER}/", f"{DATA}/journals/")
    return {name: entry for name, entry in known.items() if not name.startswith(rows)}


def _put_mlflow(settings: Settings, whole: archive.Archive, scratch: Path) -> str | None:
    """Put in MLflow's database, and the files of others, without what follows from the journals;
    return where files are.
    """
    if settings.tracking_uri:
        return None
    store, copy = store_of(settings), scratch / MLFLOW
    if store is None:
        # As an SQLite file, too: a backup restores on any machine, and a drill proves all of it.
        store = scratch / "moved.db"
        moving.move(settings.db_uri, f"{_SQLITE}{store}", scratch / "moved.json", lambda _: None)
    elif not store.is_file():
        return None
    store_file.copy_kept(store, copy)
    if store.parent == scratch:
        delete_copy(store)
    whole.add(MLFLOW, copy)
    ours = store_file.our_experiments(copy)
    delete_copy(copy)
    folder = local_path(settings.artifacts_path)
    if folder is not None and folder.is_dir():
        for file in _files(folder, without=ours):
            whole.add(f"{ARTIFACTS}/{file.relative_to(folder)}", file)
    return settings.artifacts_path


def _put_journals(
    settings: Settings, whole: archive.Archive, scratch: Path, before: Sealed | None
) -> dict[str, Tail]:
    """Put in each journal; of one that the earlier backup has, what came after."""
    earlier = before.manifest.journals if before else {}
    found: dict[str, Tail] = {}
    for instance in find_journals(settings.data):
        journal, copy = settings.data / "journals" / f"{instance}.db", scratch / f"{instance}.db"
        if instance in earlier:
            found[instance] = copy_later(journal, earlier[instance], copy)
            if found[instance] != earlier[instance]:
                whole.add(f"{LATER}/{instance}.db", copy)
        else:
            copy_database(journal, copy)
            whole.add(f"{DATA}/journals/{instance}.db", copy)
            found[instance] = tail(copy)
        delete_copy(copy)
    gone = earlier.keys() - found.keys()
    if gone:
        raise OutputRefused(
            f"the journal {min(gone)} of the earlier backup is not here: that was another"
            " installation, or this one was reset since; make a whole one, without --since"
        )
    return found


def _put_claims(settings: Settings, whole: archive.Archive, scratch: Path) -> None:
    """After the journals: a claim without its record is free, a record without its claim would
    be answered twice.
    """
    if (settings.data / CLAIMS).is_file():
        copy_database(settings.data / CLAIMS, scratch / CLAIMS)
        whole.add(f"{DATA}/{CLAIMS}", scratch / CLAIMS)


def _put_archive(settings: Settings, whole: archive.Archive, scratch: Path) -> None:
    """After MLflow: a run is then there, or in the archive. What people gave to an archived run is
    nowhere else. The index first: the files that it names are there before it.
    """
    index, folder = settings.data / run_index.NAME, local_path(archiving.place(settings))
    if not index.is_file() or folder is None:
        return
    copy_database(index, scratch / run_index.NAME)
    whole.add(f"{DATA}/{run_index.NAME}", scratch / run_index.NAME)
    for file in _files(folder):
        if not file.name.endswith(_PASSING):
            whole.add(f"{DATA}/{archiving.FOLDER}/{file.relative_to(folder)}", file)


def _rest(settings: Settings) -> Iterator[Path]:
    for file in _files(settings.data):
        room = file.relative_to(settings.data).parts[0]
        if room in _REMADE | _STATE or room.startswith(_SCRATCH):
            continue
        if not file.name.endswith(_PASSING):
            yield file


def _settings_files(settings: Settings) -> Iterator[Path]:
    named = [model.program for model in settings.models.values() if model.program]
    for name in ("ddx.toml", "mlflow_server_config.py", settings.legal_hold, *named):
        file = settings.home / name
        if name and file.is_file() and file.resolve().is_relative_to(settings.home.resolve()):
            yield file


def _files(folder: Path, without: Collection[str] = ()) -> Iterator[Path]:
    """Yield the files below a folder, in order; what is a link is none."""
    for one in sorted(folder.iterdir()) if folder.is_dir() else ():
        if one.is_symlink() or one.name in without:
            continue
        if one.is_dir():
            yield from _files(one)
        elif one.is_file():
            yield one
