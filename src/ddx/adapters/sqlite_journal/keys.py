"""The records' keys, in a file of their own: destroying one erases its record everywhere.

The file is a header of 64 bytes, then slots of 32 bytes; slot n is key n. A slot of zeros is a
destroyed key. Slots are made in blocks and synced before any is used, so that taking a key
costs a request nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ddx.errors import Erased, JournalDamaged

KEY_BYTES = 32
BLOCK = 1024
_HEADER_BYTES = 64
_MAGIC = b"ddx-keys-1\n"
_DESTROYED = bytes(KEY_BYTES)


class KeyFile:
    """Keys of one journal. One writer; any number of readers."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        flags = os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY
        self._file = os.open(path, flags | os.O_CLOEXEC, 0o600)
        if writable and os.fstat(self._file).st_size == 0:
            os.pwrite(self._file, _MAGIC.ljust(_HEADER_BYTES, b"\0"), 0)
            os.fsync(self._file)
            sync_folder(path.parent)
        if os.pread(self._file, len(_MAGIC), 0) != _MAGIC:
            raise JournalDamaged(f"{path.name} is not a key file")

    def count(self) -> int:
        """Return the number of whole slots."""
        return (os.fstat(self._file).st_size - _HEADER_BYTES) // KEY_BYTES

    def grow(self) -> int:
        """Add a block of fresh keys, durable on return; return the new number of slots."""
        count = self.count()
        os.pwrite(self._file, os.urandom(KEY_BYTES * BLOCK), _offset(count))
        os.fsync(self._file)
        return count + BLOCK

    def get(self, key_id: int) -> bytes:
        """Return a key. Raises Erased where it is destroyed, JournalDamaged where missing."""
        key = os.pread(self._file, KEY_BYTES, _offset(key_id))
        if len(key) != KEY_BYTES:
            raise JournalDamaged(f"key {key_id} is missing from the key file")
        if key == _DESTROYED:
            raise Erased
        return key

    def destroy(self, key_id: int) -> None:
        """Overwrite a key, durably."""
        os.pwrite(self._file, _DESTROYED, _offset(key_id))
        os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def shared_secret(path: Path) -> bytes:
    """Return the 32 random bytes in `path`, made on first use by whoever comes first."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, os.urandom(KEY_BYTES))
            os.fsync(file)
        finally:
            os.close(file)
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
        sync_folder(path.parent)
    return path.read_bytes()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: they are written back apart from the files."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _offset(key_id: int) -> int:
    return _HEADER_BYTES + key_id * KEY_BYTES
