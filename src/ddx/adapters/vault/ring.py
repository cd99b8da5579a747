"""The file of wrapped data keys: the one small file that a rotation changes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ddx.adapters.vault.replacing import Moment, overwrite, replace, sync_folder
from ddx.core.vault import WRAPPED
from ddx.errors import JournalDamaged, MasterKeyUnavailable

NAME = "master.json"
_FORMAT = "ddx-master/1"
_ID_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """A data key as it is kept."""

    master: str
    """Id of the master key that it is under."""
    wrapped: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """All data keys of a folder."""

    current: str
    """Id of the one that new keys are wrapped under."""
    data_keys: Mapping[str, Wrapped]

    @property
    def masters(self) -> str:
        """Ids of the master keys that open it: one of them, but for a file that was mended."""
        return ", ".join(sorted({one.master for one in self.data_keys.values()}))

    def encode(self) -> bytes:
        """Return it as the file has it."""
        return (json.dumps({"format": _FORMAT, **asdict(self)}, indent=1) + "\n").encode()


def read_ring(folder: Path) -> Ring | None:
    """Return the data keys of a folder; None where nothing was ever wrapped.

    Raises JournalDamaged, MasterKeyUnavailable.
    """
    try:
        said = json.loads((folder / NAME).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise MasterKeyUnavailable(f"{NAME} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise JournalDamaged(f"{NAME} is damaged") from error
    try:
        if said["format"] != _FORMAT:
            raise JournalDamaged(f"{NAME} is of another format than {_FORMAT}")
        keys = {id: Wrapped(**one) for id, one in said["data_keys"].items()}
        return Ring(current=said["current"], data_keys=keys)
    except (KeyError, TypeError, AttributeError) as error:
        raise JournalDamaged(f"{NAME} is damaged") from error


def write_ring(folder: Path, ring: Ring, at: Moment) -> None:
    """Put it in the place of the old one, whose bytes are overwritten."""
    replace(folder / NAME, lambda file: _write(file.fileno(), ring), at)


def forget_ring(folder: Path) -> None:
    """Overwrite and remove it, once nothing is wrapped."""
    path = folder / NAME
    if path.exists():
        overwrite(path)
        path.unlink()
        sync_folder(folder)


def data_key_of(path: Path) -> str | None:
    """Return the id of the data key that a secret's file is under; None where it is plain."""
    with path.open("rb") as file:
        head = file.read(len(WRAPPED) + _ID_DIGITS)
    return head.removeprefix(WRAPPED).decode("ascii") if head.startswith(WRAPPED) else None


def make_ring(folder: Path, ring: Ring) -> Ring:
    """Keep the first one of a folder; return it, or another's that came first."""
    draft = folder / f"{NAME}.{os.urandom(8).hex()}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    handle = os.open(draft, flags, 0o600)
    try:
        _write(handle, ring)
        os.fsync(handle)
        with suppress(FileExistsError):
            os.link(draft, folder / NAME)
    finally:
        os.close(handle)
        draft.unlink()
    sync_folder(folder)
    return read_ring(folder) or ring


def _write(handle: int, ring: Ring) -> None:
    os.write(handle, ring.encode())
