"""The records' keys, in a file of their own: destroying one erases its record everywhere.

The file is a header of 64 bytes, then slots of one size; slot n is key n. A slot of zeros is a
destroyed key. Slots are made in blocks and synced before any is used, so that taking a key
costs a request nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Lock
from typing import IO

from ddx.adapters.sqlite_journal.slots import HEADER_BYTES, KEY_BYTES, Slots, new_slots, slots_of
from ddx.core.vault import NoVault
from ddx.errors import Erased, JournalDamaged
from ddx.ports import DataKey, Vault

BLOCK = 1024


class KeyFile:
    """Keys of one journal. One writer; any number of readers, each safe between threads.

    The file is replaced when its form changes. Whoever has it open then follows: what is
    destroyed in the new file is destroyed for every reader at once.
    """

    def __init__(self, path: Path, *, writable: bool, vault: Vault | None = None) -> None:
        self._path, self._vault = path, vault or NoVault()
        self._flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC
        self._lock = Lock()
        if writable:
            with self._vault.steady():
                _make(path, self._vault)
        self._file, self._slots = self._opened()

    @property
    def data_key(self) -> str | None:
        """Id of the data key that the keys are wrapped under; None where they are plain."""
        return self._slots.data_key

    def check(self) -> None:
        """See that keys can be read. Raises MasterKeyUnavailable, WrongMasterKey."""
        self._slots.check()

    def count(self) -> int:
        """Return the number of whole slots."""
        return (os.fstat(self._file).st_size - HEADER_BYTES) // self._slots.slot_bytes

    def grow(self) -> int:
        """Add a block of fresh keys, durable on return; return the new number of slots."""
        count = self.count()
        fresh = (self._slots.put(count + n, os.urandom(KEY_BYTES)) for n in range(BLOCK))
        os.pwrite(self._file, b"".join(fresh), self._offset(count))
        os.fsync(self._file)
        return count + BLOCK

    def get(self, key_id: int) -> bytes:
        """Return a key. Raises Erased where it is destroyed, JournalDamaged where missing."""
        with self._lock:
            slot = self._slot(key_id)
            # Looked at after the reading: then this was the file when it was read.
            while self._follow():
                slot = self._slot(key_id)
            slots = self._slots
        if len(slot) != slots.slot_bytes:
            raise JournalDamaged(f"key {key_id} is missing from the key file")
        if not any(slot):
            raise Erased
        return slots.take(key_id, slot)

    def all(self) -> Iterator[bytes | None]:
        """Yield each key in order, None where it is destroyed. Nobody may write meanwhile."""
        size, count = self._slots.slot_bytes, self.count()
        for first in range(0, count, BLOCK):
            block = os.pread(self._file, size * BLOCK, self._offset(first))
            for number in range(first, min(first + BLOCK, count)):
                slot = block[(number - first) * size :][:size]
                yield self._slots.take(number, slot) if any(slot) else None

    def destroy(self, key_id: int) -> None:
        """Overwrite a key, durably. Needs no master key."""
        with self._vault.steady(), self._lock:
            self._follow()
            os.pwrite(self._file, bytes(self._slots.slot_bytes), self._offset(key_id))
            os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _slot(self, key_id: int) -> bytes:
        return os.pread(self._file, self._slots.slot_bytes, self._offset(key_id))

    def _offset(self, key_id: int) -> int:
        return HEADER_BYTES + key_id * self._slots.slot_bytes

    def _opened(self) -> tuple[int, Slots]:
        file = os.open(self._path, self._flags)
        slots = slots_of(os.pread(file, HEADER_BYTES, 0), self._vault)
        if slots is None:
            os.close(file)
            raise JournalDamaged(f"{self._path.name} is not a key file")
        return file, slots

    def _follow(self) -> bool:
        """Open the file that has this one's name now; False where it is this one."""
        with suppress(FileNotFoundError):
            if not os.path.samestat(os.stat(self._path), os.fstat(self._file)):  # noqa: PTH116
                old = self._file
                self._file, self._slots = self._opened()
                os.close(old)
                return True
        return False


def rewrap(path: Path, vault: Vault, to: DataKey | None, out: IO[bytes]) -> None:
    """Write a key file's keys in another form: under a data key, or plain.

    What was written is read again and compared, since no key can be made twice. Nobody may
    write the file meanwhile. `out` is a new file.
    """
    with closing(KeyFile(path, writable=False, vault=vault)) as old:
        slots, digest = new_slots(to, vault), hashlib.sha256()
        out.write(slots.header)
        for number, key in enumerate(old.all()):
            digest.update(key or bytes(KEY_BYTES))
            out.write(slots.put(number, key) if key else bytes(slots.slot_bytes))
    out.flush()
    with closing(KeyFile(Path(out.name), writable=False, vault=vault)) as new:
        again = hashlib.sha256()
        for key in new.all():
            again.update(key or bytes(KEY_BYTES))
    if again.digest() != digest.digest():
        raise JournalDamaged(f"the copy of {path.name} does not read as it was written")


def shared_secret(path: Path, vault: Vault | None = None) -> bytes:
    """Return the 32 random bytes in `path`, made on first use by whoever comes first."""
    vault = vault or NoVault()
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        content = vault.seal(path.name, os.urandom(KEY_BYTES))
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, content)
            os.fsync(file)
        finally:
            os.close(file)
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
        sync_folder(path.parent)
    return vault.open(path.name, path.read_bytes())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: they are written back apart from the files."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make(path: Path, vault: Vault) -> None:
    """Make a file without keys, wrapped where new keys are."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(file).st_size == 0:
            os.pwrite(file, new_slots(vault.current(), vault).header, 0)
            os.fsync(file)
            sync_folder(path.parent)
    finally:
        os.close(file)
