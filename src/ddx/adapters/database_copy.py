"""A copy of an SQLite file as it is at one moment, for backups: made, and deleted, without a stop
for whoever writes beside.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw

from ddx.errors import OutputRefused

_BUSY_MS = 60_000
_PAGES = 512
"""Of 4 kB: so many are written out at a time, for whoever syncs a file beside waits for them."""
_FREED, _PAUSE_S = 16 << 20, 0.002
"""So many bytes of a file are given back at a time, for the same reason."""
_sync_data: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
"""macOS has the second alone."""


def copy_database(source: Path, to: Path) -> None:
    """Copy an SQLite file as it is at one moment, while others write it. Raises OutputRefused.

    In a journal (WAL) nobody waits for it.
    """
    try:
        handle = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _copy(source, to, handle)
        finally:
            os.close(handle)
    except (OSError, apsw.Error) as error:
        raise OutputRefused(f"{source.name} cannot be copied: {error}") from error


def _copy(source: Path, to: Path, handle: int) -> None:
    # By the SQLite that opens our journals: two of them in one process undo each other's locks.
    with closing(apsw.Connection(str(source), apsw.SQLITE_OPEN_READONLY)) as old:
        old.set_busy_timeout(_BUSY_MS)
        # One look from the first step to the last: else SQLite begins anew where another process
        # writes between two.
        old.execute("begin; select count(*) from sqlite_master")
        with closing(apsw.Connection(str(to))) as new:
            # Nobody reads it if this is cut off.
            new.execute("pragma journal_mode = off; pragma synchronous = off")
            with new.backup("main", old, "main") as copying:
                while not copying.done:
                    copying.step(_PAGES)
                    _sync_data(handle)
            new.pragma("journal_mode", "delete")


def delete_copy(path: Path) -> None:
    """Delete a large file without a stop for whoever writes beside. Raises OSError."""
    with path.open("rb+") as file:
        path.unlink()
        for left in range(os.fstat(file.fileno()).st_size, 0, -_FREED):
            file.truncate(max(0, left - _FREED))
            time.sleep(_PAUSE_S)
