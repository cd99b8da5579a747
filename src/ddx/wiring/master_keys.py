"""The records' keys under a master key: status, wrapping, rotation, unwrapping. From settings.

What the files hold changes while nobody writes them: the locks of all journals and the lease of
delivery are held meanwhile. A command that was killed is repeated; at any moment every file is
whole, says by itself what it is under, and opens.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from ddx.adapters import vault as files
from ddx.adapters.delivery_state import Lease
from ddx.adapters.ed25519 import PRIVATE_NAME
from ddx.adapters.sqlite_journal import KeyFile, Paths, rewrap, take_lock
from ddx.adapters.vault import FileVault, Key, Master, Ring
from ddx.errors import (
    DdxError,
    DeliveryInUse,
    JournalInUse,
    KeysInUse,
    MasterKeyUnavailable,
    SettingsError,
    WrongMasterKey,
)
from ddx.settings import Settings
from ddx.wiring import vaults

Moment = Callable[[str], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One file of keys, and what it is under."""

    file: str
    """Its name below `ddx_data/keys`."""
    data_key: str | None
    """Id of the data key that wraps it; None: it is plain."""
    keys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How the keys of an installation are kept."""

    source: str
    """Where the settings have the master key; empty where they name none."""
    at_hand: str | None
    """Id of that master key; None where there is none, or it cannot be had."""
    wanted: str | None
    """Id of the master key that the data keys are under; None where nothing is wrapped."""
    trouble: DdxError | None
    """Why the keys cannot be opened."""
    data_keys: Sequence[str]
    files: Sequence[Kept] = field(default_factory=tuple)
    unfinished: Sequence[str] = field(default_factory=tuple)
    """Files that a killed command has left, to be overwritten by its repetition."""

    @property
    def plain(self) -> list[str]:
        """Files that are not wrapped."""
        return [one.file for one in self.files if one.data_key is None]


def status(settings: Settings) -> Status:
    """Look at every file of keys, and try to open them. Changes nothing. Raises JournalDamaged."""
    box, get = vaults.vault(settings), vaults.master(settings)
    ring = files.read_ring(box.folder)
    at_hand, trouble = None, None
    try:
        at_hand = get().id if get else None
        box.check()
    except (MasterKeyUnavailable, WrongMasterKey) as error:
        trouble = error
    return Status(
        source=vaults.source(settings),
        at_hand=at_hand,
        wanted=ring.masters if ring else None,
        trouble=trouble,
        data_keys=list(ring.data_keys) if ring else [],
        files=[_kept(box, path) for path in (*_key_files(box.folder), *_secrets(box.folder))],
        unfinished=[str(one.relative_to(box.folder)) for one in files.leftovers(box.folder)],
    )


def wrap(settings: Settings, at: Moment = lambda _: None, progress: Progress | None = None) -> int:
    """Wrap every file that is plain; return how many. Raises KeysInUse, SettingsError."""
    if vaults.master(settings) is None:
        raise SettingsError(
            "no master key is set: name one by master_key_file, master_key_env or"
            " master_key_command"
        )
    box = vaults.vault(settings)
    with _still(settings, box.folder):
        _finish(box.folder)
        key = box.current()
        at("ring")
        return _convert(box, key, at, progress)


def unwrap(
    settings: Settings, at: Moment = lambda _: None, progress: Progress | None = None
) -> int:
    """Make every file plain again, and forget the data keys; return how many. Raises KeysInUse."""
    box = vaults.vault(settings)
    with _still(settings, box.folder):
        _finish(box.folder)
        box.check()
        count = _convert(box, None, at, progress)
        files.forget_ring(box.folder)
        return count


def rotate(
    settings: Settings,
    to: Settings,
    *,
    slots: bool = False,
    at: Moment = lambda _: None,
    progress: Progress | None = None,
) -> int:
    """Wrap the data keys under the master key of `to` instead of that of `settings`.

    Servers may run: they have opened what they need. With `slots` there is a new data key, too,
    and every file is wrapped anew, which needs them stopped. Returns how many files were.
    Repeated after a kill, it goes on. Raises KeysInUse, MasterKeyUnavailable, WrongMasterKey.
    """
    get = vaults.master(to)
    if get is None:
        raise SettingsError("name the new master key")
    box = vaults.vault(to)
    hold = _still(settings, box.folder) if slots else files.alone(box.folder)
    with hold:
        _finish(box.folder)
        ring = files.read_ring(box.folder)
        if ring is None:
            raise MasterKeyUnavailable(
                "nothing is wrapped here: `ddx keys master wrap` comes first"
            )
        new = get()
        keys, current = _opened(ring, settings, new), ring.current
        if slots and len(keys) == 1:  # two of them: one that was killed has begun
            keys.append(files.new_key())
            current = keys[-1].id
        if current != ring.current or ring.masters != new.id:
            files.write_ring(box.folder, files.wrapped_by(new, current, keys), at)
        if not slots:
            return 0
        count = _convert(box, box.key(current), at, progress)
        kept = [key for key in keys if key.id == current]
        files.write_ring(box.folder, files.wrapped_by(new, current, kept), at)
        return count


def _opened(ring: Ring, settings: Settings, new: Master) -> list[Key]:
    """Open the data keys by the old master key, or by the new one where it was there already."""
    found = []
    for id, kept in ring.data_keys.items():
        if kept.master == new.id:
            found.append(Key(id, new.unwrap(kept.wrapped)))
        else:
            found.append(vaults.vault(settings).key(id))
    return found


def _finish(folder: Path) -> None:
    """Overwrite what a killed command has left."""
    for left in files.leftovers(folder):
        files.finish(files.target(left))


def _convert(box: FileVault, key: Key | None, at: Moment, progress: Progress | None) -> int:
    """Bring every file under a data key, or make it plain; return how many were not."""
    wanted = key.id if key else None
    paths = [*_key_files(box.folder), *_secrets(box.folder)]
    todo = [path for path in paths if _data_key(path) != wanted]
    for done, path in enumerate(todo):
        if progress:
            progress(done, len(todo))
        if path.suffix == ".keys":
            write = partial(rewrap, path, box, key)
        else:
            secret = box.open(path.name, path.read_bytes())
            write = partial(_put, files.sealed(key, path.name, secret))
        files.replace(path, write, at)
    return len(todo)


def _put(content: bytes, out: IO[bytes]) -> None:
    out.write(content)


def _kept(box: FileVault, path: Path) -> Kept:
    count = 1
    if path.suffix == ".keys":
        with closing(KeyFile(path, writable=False)) as keys:
            count = keys.count()
    return Kept(file=str(path.relative_to(box.folder)), data_key=_data_key(path), keys=count)


def _data_key(path: Path) -> str | None:
    if path.suffix != ".keys":
        return files.data_key_of(path)
    with closing(KeyFile(path, writable=False)) as keys:
        return keys.data_key


def _key_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.keys"))


def _secrets(folder: Path) -> list[Path]:
    """Return the files that hold one secret each: of trackers, of checkpoints, of batches."""
    found = [folder / "claims.key", folder / PRIVATE_NAME, folder / "batches" / "secret"]
    # What begins with a point is a draft.
    found += [one for one in sorted(folder.glob("batches/*.key")) if one.name[0] != "."]
    return [one for one in found if one.is_file()]


@contextmanager
def _still(settings: Settings, folder: Path) -> Iterator[None]:
    """Hold all that may write keys, and whoever has read them for long. Raises KeysInUse."""
    instances = {one.stem for one in _key_files(folder)}
    instances |= {one.stem for one in (settings.data / "journals").glob("*.db")}
    with ExitStack() as held:
        try:
            for instance in sorted(instances):
                paths = Paths(settings.data, instance)
                paths.make_folders()
                held.callback(os.close, take_lock(paths))
            if settings.data.is_dir():
                held.callback(Lease(settings.data / "delivery.lock").release)
        except (JournalInUse, DeliveryInUse) as error:
            raise KeysInUse(str(error)) from error
        held.enter_context(files.alone(folder))
        yield
