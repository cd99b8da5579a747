"""A copy of an SQLite file as it is at one moment, for backups."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import apsw

from ddx.errors import OutputRefused

_BUSY_MS = 60_000
_IN_ONE_PASS = 1 << 30
"""Bytes of a database that is written anew while its writers wait: for seconds at most."""


def copy_database(source: Path, to: Path, *, clean: bool = False) -> None:
    """Copy an SQLite file as it is at one moment, while others write it. Raises OutputRefused.

    With `clean` nothing is in the copy that was deleted, and still lies about in the file.

    All in one step: where another process writes between two, SQLite begins anew. In a journal
    (WAL) nobody waits for it.
    """
    # By the SQLite that opens our journals: two of them in one process undo each other's locks.
    flags = apsw.SQLITE_OPEN_READONLY
    try:
        os.close(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(apsw.Connection(str(source), flags)) as old:
            old.set_busy_timeout(_BUSY_MS)
            if clean and source.stat().st_size < _IN_ONE_PASS:
                old.execute("pragma cache_size = -65536")
                old.execute("vacuum into ?", (str(to),))
                return
            with closing(apsw.Connection(str(to))) as new:
                # Nobody reads it if this is cut off, and its bytes are synced where they end up.
                new.execute("pragma journal_mode = off; pragma synchronous = off")
                with new.backup("main", old, "main") as copying:
                    while not copying.done:
                        copying.step()
                new.pragma("journal_mode", "delete")
                if clean:
                    new.execute("vacuum")
    except (OSError, apsw.Error) as error:
        raise OutputRefused(f"{source.name} cannot be copied: {error}") from error
