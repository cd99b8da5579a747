"""What callers use of their limits, counted by all server processes of a data folder together.

A file that need not outlive them: it is never synced, and begun anew by the first of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from ddx.core.callers import Bucket

_SCHEMA = """
create table if not exists rate (caller text primary key, left real, at_s real) strict;
create table if not exists running (
    caller text, instance text, number integer, primary key (caller, instance)
) strict;
"""


class SharedLimits:
    """Counts for one process; see ports.Counts. Each call takes some 0.05 ms."""

    def __init__(self, data: Path, instance: str) -> None:
        path = data / "run" / "limits.db"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            # SQLite would create it with the umask's mode.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._instance = instance
        # Opened in the thread that starts the server, used in that of its event loop.
        self._db = apsw.Connection(str(path))
        self._db.set_busy_timeout(2_000)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = off")
        self._db.execute(_SCHEMA)

    def enter(self, caller: str, most: int) -> bool:
        """Count one more under way here; False where there are as many as may be, in all."""
        with self._alone():
            found = self._db.execute("select sum(number) from running where caller = ?", (caller,))
            if int(found.get or 0) >= most:
                return False
            self._db.execute(
                "insert into running values (?, ?, 1)"
                " on conflict do update set number = number + 1",
                (caller, self._instance),
            )
        return True

    def leave(self, caller: str) -> None:
        """Count one less."""
        self._db.execute(
            "update running set number = number - 1 where caller = ? and instance = ?",
            (caller, self._instance),
        )

    def wait_s(self, caller: str, rate_per_minute: float, now_s: float) -> float:
        """Take one from a caller's bucket; return 0, or how long until there is one.

        The monotonic clock is one for all processes of a machine (clock_gettime(2)).
        """
        with self._alone():
            row = self._db.execute(
                "select left, at_s from rate where caller = ?", (caller,)
            ).fetchone()
            left, at_s = row or (max(1.0, rate_per_minute), now_s)
            bucket = Bucket(left=left, at_s=at_s)
            waits_s = bucket.wait_s(rate_per_minute, max(now_s, at_s))
            self._db.execute(
                "insert into rate values (?, ?, ?) on conflict do update"
                " set left = excluded.left, at_s = excluded.at_s",
                (caller, bucket.left, bucket.at_s),
            )
        return waits_s

    def forget(self) -> None:
        """Count nothing as under way here: this process has just begun, or is dead."""
        self._db.execute("delete from running where instance = ?", (self._instance,))

    def forget_all(self) -> None:
        """Begin anew, where no process counts yet."""
        self._db.execute("delete from running")
        self._db.execute("delete from rate")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")
