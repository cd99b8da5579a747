"""An installation out of a backup, in a place of its own, and the proof that it is whole."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from ddx import settings as setting_files
from ddx.adapters import archive, folders, run_index
from ddx.adapters.mlflow_runs import store_file
from ddx.adapters.mlflow_runs.files import local_path
from ddx.adapters.sqlite_journal import (
    SqliteJournalReader,
    append_later,
    destroy_key,
    find_journals,
)
from ddx.core.archive import Manifest
from ddx.core.chain import Kind
from ddx.core.record import PredictionId
from ddx.errors import ArchiveDamaged, BadBackup, Erased, OutputRefused
from ddx.settings import Settings
from ddx.wiring import archiving, vaults
from ddx.wiring.backing_up import ARTIFACTS, DATA, KEYS, LATER, MLFLOW, SETTINGS
from ddx.wiring.backup_chains import Chain, read_chain
from ddx.wiring.delivering import deliver
from ddx.wiring.verifying import verify

_OURS = "ddx_data"
_STORE, _FILES = "mlflow_data/mlflow.db", "mlflow_data/artifacts"
_CONFIG = "mlflow_server_config.py"
_WINDOW = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What came out of a backup."""

    home: Path
    made_at: str
    """When the newest of the chain was made."""
    backups: int
    """Of the chain: 1 where the backup is a whole one."""
    predictions: int
    """Finished ones, each read, and compared with its run where MLflow's store was restored."""
    erased: int
    events: int
    mlflow: bool
    """Whether MLflow's store was in the backup, and its runs were made whole again."""
    differences: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Files that the settings name and no backup holds, as `tls_cert_file = tls/cert.pem`."""

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def check(
    named: Sequence[str], keys: str | None = None, identity: Path | None = None
) -> tuple[Chain, Manifest]:
    """Read all backups of a chain, and the newest keys, whole. Raises BadBackup, MissingExtra."""
    found = read_chain(named, lambda place, _: archive.read(place, identity=identity))
    return found, archive.read(_keys_of(found, keys), identity=identity).manifest


def _keys_of(found: Chain, keys: str | None) -> archive.Place:
    """Return the newest keys: they alone know what was erased since an earlier backup."""
    return archive.place(keys or found.places[-1].said + KEYS)


def drill(
    named: Sequence[str],
    keys: str | None = None,
    identity: Path | None = None,
    here: Settings | None = None,
) -> Restored:
    """Restore beside, verify, and leave nothing behind. Raises as `restore` does."""
    with tempfile.TemporaryDirectory(prefix="ddx-drill-") as folder:
        return restore(named, Path(folder) / "home", keys, identity, here)


def restore(
    named: Sequence[str],
    home: Path,
    keys: str | None = None,
    identity: Path | None = None,
    here: Settings | None = None,
) -> Restored:
    """Make a whole installation in a new or empty folder.

    `named` is a whole backup and its increments, in order, or the last increment alone. Its data
    and MLflow's are below the folder, whatever the settings of the old one said. `here`, the
    settings in force, name the master key where the keys are wrapped. Raises BadBackup,
    OutputRefused where something is there, MasterKeyUnavailable and WrongMasterKey.
    """
    _refuse_what_is_there(home)
    try:
        found = _unpack(named, home, keys, identity)
        return _made_whole(home, found, here)
    except BaseException:
        for one in home.iterdir():  # so that it can be repeated, as with the right key
            folders.delete(one)
        raise


def _unpack(named: Sequence[str], home: Path, keys: str | None, identity: Path | None) -> Chain:
    """Put what the backups hold into the home; return their chain. Raises BadBackup."""
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".ddx-restore-") as folder:
        staging = Path(folder)
        found = read_chain(
            named, lambda place, number: archive.read(place, staging / str(number), identity)
        )
        _merge(found, staging)
        whole = staging / str(found.numbers[0])
        named_keys = _keys_of(found, keys)
        archive.read(named_keys, whole, identity)
        _check_keys(whole / DATA / "keys", found.newest.manifest, named_keys)
        _arrange(whole, home)
    return found


def _made_whole(home: Path, found: Chain, here: Settings | None) -> Restored:
    """Make of what was unpacked an installation that runs, and compare it with itself."""
    manifest = found.newest.manifest
    loaded = _settings_of(home)
    if here is not None:
        loaded = vaults.with_master_of(loaded, here)
    vaults.check(loaded)
    _keep_erased(loaded)
    in_store = (home / _STORE).is_file()
    wrong = []
    if in_store:
        wrong = _bring_back(loaded)
        _make_ready(home, manifest)
        deliver(loaded, once=True, rebuild=True)
    report = verify(loaded, mlflow=in_store, checkpoints=(), public_key=None)
    return Restored(
        home=home,
        made_at=manifest.made_at,
        backups=len(found.places),
        predictions=report.predictions,
        erased=report.erased,
        events=report.events,
        mlflow=in_store,
        differences=[
            *wrong,
            *(f"{one.fault}: {one.where} {one.what}".rstrip() for one in report.differences),
        ],
        missing=_missing(loaded),
    )


def _refuse_what_is_there(home: Path) -> None:
    if not home.parent.is_dir():
        raise OutputRefused(f"there is no folder {home.parent}")
    try:
        home.mkdir(mode=0o700)
    except FileExistsError:
        if not home.is_dir() or next(home.iterdir(), None) is not None:
            raise OutputRefused(f"{home} is not an empty folder") from None


def _merge(found: Chain, staging: Path) -> None:
    """Put each increment into the whole backup that was unpacked. Raises BadBackup."""
    whole = staging / str(found.numbers[0])
    whole.mkdir(exist_ok=True)
    there = dict(found.sealed[0].manifest.files)
    before = found.sealed[0].manifest.journals
    for sealed, number in zip(found.sealed[1:], found.numbers[1:], strict=True):
        manifest, folder = sealed.manifest, staging / str(number)
        for name, entry in manifest.files.items():
            if name.startswith(f"{LATER}/"):
                instance = Path(name).stem
                append_later(
                    whole / DATA / "journals" / f"{instance}.db",
                    folder / name,
                    before[instance],
                    manifest.journals[instance],
                )
                continue
            (whole / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / name).replace(whole / name)
            there[name] = entry
        before = manifest.journals
    newest = found.newest.manifest
    if len(found.places) == 1:
        return
    wanted = {**newest.files, **newest.kept}
    wrong = [name for name, entry in newest.kept.items() if there.get(name) != entry]
    if wrong:
        raise BadBackup(f"the chain does not hold {wrong[0]} as its last backup says")
    for name in there.keys() - wanted.keys():
        if not name.startswith(f"{DATA}/journals/"):
            # It was deleted before the last backup.
            (whole / name).unlink()


def _check_keys(folder: Path, manifest: Manifest, named: archive.Place) -> None:
    """Raise BadBackup where a journal has none: the file is older than the backup."""
    for instance in manifest.journals:
        if not (folder / f"{instance}.keys").is_file():
            raise BadBackup(
                f"{named.said} has no keys of the journal {instance}: it is of an earlier backup;"
                " name the newest with --keys"
            )


def _arrange(staging: Path, home: Path) -> None:
    """Move what was unpacked to its place; each move is within one file system."""
    (home / "mlflow_data").mkdir(mode=0o700)
    (staging / DATA / "journals").mkdir(mode=0o700, parents=True, exist_ok=True)
    (staging / DATA).rename(home / _OURS)
    if (staging / MLFLOW).is_file():
        (staging / MLFLOW).rename(home / _STORE)
    if (staging / ARTIFACTS).is_dir():
        (staging / ARTIFACTS).rename(home / _FILES)
    old = staging / SETTINGS
    for file in sorted(old.rglob("*")) if old.is_dir() else ():
        if file.is_file():
            name = file.relative_to(old)
            # It names the old place.
            to = home / (f"{_CONFIG}.before" if str(name) == _CONFIG else name)
            to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.rename(to)
    (home / _CONFIG).write_text(f"db_uri = 'sqlite:///{_STORE}'\nartifacts_path = '{_FILES}'\n")


def _bring_back(settings: Settings) -> list[str]:
    """Put archived runs into MLflow's tables again, with what people gave them; say what of them
    cannot be: their records make those runs anew, as all others.
    """
    index, room = settings.data / run_index.NAME, settings.data / archiving.FOLDER
    if not index.is_file():
        return []
    try:
        with archiving.archiver(replace(settings, archive_uri=str(room))) as found:
            found.restore()
    except ArchiveDamaged as error:
        return [f"archive: {error}"]
    finally:
        index.unlink()
        folders.delete(room)
    return []


def _make_ready(home: Path, manifest: Manifest) -> None:
    """Make room in MLflow's tables for the runs, and say where their files are now."""
    # They are made anew from their records, which is faster than to complete them. A backup of an
    # earlier version has them, and so do those that came back from the archive.
    store, kept = home / _STORE, home / f"{_STORE}.part"
    store_file.copy_kept(store, kept)
    kept.replace(store)
    if manifest.artifacts_path:
        new = str((home / _FILES).resolve())
        ours = store_file.our_experiments(store)
        # In an object store the files of other experiments are where they were.
        only = ours if local_path(manifest.artifacts_path) is None else None
        store_file.move_files(store, manifest.artifacts_path, new, only)


def _keep_erased(settings: Settings) -> None:
    """Destroy the key of what the journals say was erased: with an older file of keys, too,
    nothing erased comes back.
    """
    data, keys = settings.data, vaults.vault(settings)
    gone: set[PredictionId] = set()
    instances = list(find_journals(data))
    for instance in instances:
        with closing(SqliteJournalReader(data, instance, keys)) as journal:
            after = 0
            while events := journal.events(after, _WINDOW):
                after = events[-1].seq
                gone |= {one.prediction_id for one in events if one.kind is Kind.ERASED}
    for instance in instances:
        with closing(SqliteJournalReader(data, instance, keys)) as journal:
            back = [id for id in sorted(gone) if _can_be_read(journal, id)]
        for id in back:
            destroy_key(data, instance, id, keys)


def _can_be_read(journal: SqliteJournalReader, id: PredictionId) -> bool:
    try:
        return journal.find(id) is not None
    except Erased:
        return False


def _settings_of(home: Path) -> Settings:
    """Return its settings, so that nothing outside of it is touched."""
    return replace(
        # Certificates and the like are in no backup: it is made whole all the same.
        setting_files.load({}, home=home, whole=False),
        data_dir=_OURS,
        tracking_uri="",
        delivery="bulk",
        tracing="off",
        otlp_endpoint="",
        ledger_uri="",
    )


def _missing(settings: Settings) -> list[str]:
    """Say which files the settings name that are not here."""
    named = {
        one.name: getattr(settings, one.name)
        for one in fields(settings)
        if one.name.endswith("_file")
    }
    there = settings.home
    return [
        f"{name} = {file}" for name, file in named.items() if file and not (there / file).is_file()
    ]
