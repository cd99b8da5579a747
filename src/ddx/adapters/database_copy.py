"""A copy of an SQLite file as it is at one moment, for backups."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import apsw

from ddx.errors import OutputRefused

_BUSY_MS = 60_000


def copy_database(source: Path, to: Path) -> None:
    """Copy an SQLite file as it is at one moment, while others write it. Raises OutputRefused.

    All in one step: where another process writes between two, SQLite begins anew. In a journal
    (WAL) nobody waits for it.
    """
    # By the SQLite that opens our journals: two of them in one process undo each other's locks.
    flags = apsw.SQLITE_OPEN_READONLY
    try:
        os.close(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(apsw.Connection(str(source), flags)) as old:
            old.set_busy_timeout(_BUSY_MS)
            with closing(apsw.Connection(str(to))) as new:
                # Nobody reads it if this is cut off, and its bytes are synced where they end up.
                new.execute("pragma journal_mode = off; pragma synchronous = off")
                with new.backup("main", old, "main") as copying:
                    while not copying.done:
                        copying.step()
                new.pragma("journal_mode", "delete")
    except (OSError, apsw.Error) as error:
        raise OutputRefused(f"{source.name} cannot be copied: {error}") from error
