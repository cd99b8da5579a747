"""An installation out of a backup, in a place of its own, and the proof that it is whole."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from ddx import settings as setting_files
from ddx.adapters import archive
from ddx.adapters.mlflow_runs import store_file
from ddx.adapters.mlflow_runs.files import local_path
from ddx.core.archive import Manifest
from ddx.errors import OutputRefused
from ddx.settings import Settings
from ddx.wiring.backing_up import ARTIFACTS, DATA, KEYS, MLFLOW, SETTINGS
from ddx.wiring.delivering import deliver
from ddx.wiring.verifying import verify

_OURS = "ddx_data"
_STORE, _FILES = "mlflow_data/mlflow.db", "mlflow_data/artifacts"
_CONFIG = "mlflow_server_config.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What came out of a backup."""

    home: Path
    made_at: str
    predictions: int
    """Finished ones, each read, and compared with its run where MLflow's store was restored."""
    erased: int
    events: int
    mlflow: bool
    """Whether MLflow's store was in the backup, and its runs were made whole again."""
    differences: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def check(
    path: Path, keys: Path | None = None, identity: Path | None = None
) -> tuple[Manifest, Manifest]:
    """Read both files of a backup whole. Raises BadBackup, MissingExtra."""
    return (
        archive.read(path, identity=identity),
        archive.read(keys or beside(path), identity=identity),
    )


def beside(path: Path) -> Path:
    """Return where a backup's keys are, as they were written."""
    return path.with_name(path.name + KEYS)


def drill(path: Path, keys: Path | None = None, identity: Path | None = None) -> Restored:
    """Restore beside, verify, and leave nothing behind. Raises BadBackup, OutputRefused."""
    with tempfile.TemporaryDirectory(prefix="ddx-drill-") as folder:
        return restore(path, Path(folder) / "home", keys, identity)


def restore(
    path: Path, home: Path, keys: Path | None = None, identity: Path | None = None
) -> Restored:
    """Make a whole installation in a new or empty folder.

    Its data and MLflow's are below it, whatever the settings of the old one said. Raises BadBackup,
    and OutputRefused where something is there.
    """
    _refuse_what_is_there(home)
    with ExitStack() as undo:
        staging = Path(
            undo.enter_context(tempfile.TemporaryDirectory(dir=home.parent, prefix=".ddx-restore-"))
        )
        manifest = archive.read(path, staging, identity)
        archive.read(keys or beside(path), staging, identity)
        _arrange(staging, manifest, home)
    loaded = _settings_of(home)
    in_store = (home / _STORE).is_file()
    if in_store:
        deliver(loaded, once=True, rebuild=True)
    report = verify(loaded, mlflow=in_store, checkpoints=(), public_key=None)
    return Restored(
        home=home,
        made_at=manifest.made_at,
        predictions=report.predictions,
        erased=report.erased,
        events=report.events,
        mlflow=in_store,
        differences=[f"{one.fault}: {one.where} {one.what}".rstrip() for one in report.differences],
    )


def _refuse_what_is_there(home: Path) -> None:
    if not home.parent.is_dir():
        raise OutputRefused(f"there is no folder {home.parent}")
    try:
        home.mkdir(mode=0o700)
    except FileExistsError:
        if not home.is_dir() or next(home.iterdir(), None) is not None:
            raise OutputRefused(f"{home} is not an empty folder") from None


def _arrange(staging: Path, manifest: Manifest, home: Path) -> None:
    """Move what was unpacked to its place; each move is within one file system."""
    (home / "mlflow_data").mkdir(mode=0o700)
    (staging / DATA / "journals").mkdir(mode=0o700, parents=True, exist_ok=True)
    (staging / DATA).rename(home / _OURS)
    if (staging / MLFLOW).is_file():
        if manifest.artifacts_path:
            new = str((home / _FILES).resolve())
            ours = store_file.our_experiments(staging / MLFLOW)
            # In an object store the files of other experiments are where they were.
            only = ours if local_path(manifest.artifacts_path) is None else None
            store_file.move_files(staging / MLFLOW, manifest.artifacts_path, new, only)
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


def _settings_of(home: Path) -> Settings:
    """Return its settings, so that nothing outside of it is touched."""
    return replace(
        setting_files.load({}, home=home),
        data_dir=_OURS,
        tracking_uri="",
        delivery="bulk",
        tracing="off",
        otlp_endpoint="",
        ledger_uri="",
    )
