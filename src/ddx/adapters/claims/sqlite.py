"""Claims of the processes of one machine, in an SQLite file of its data folder.

How a prediction stands is in its journal, which all of them can read: here is only who took what.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import apsw

from ddx.adapters.claims.desk import Desk, Job
from ddx.adapters.claims.table import Earlier, Table
from ddx.core.record import Prediction, PredictionId
from ddx.errors import ClaimsUnavailable, JournalFull
from ddx.ports import Claim, Held, Holder

_SCHEMA = """
create table if not exists claim (
    tracker blob primary key,
    body blob not null,
    prediction_id text not null,
    node text not null,
    instance text not null,
    life text not null,
    retry_of text,
    standing text not null,
    reply blob
) strict, without rowid;
create index if not exists claim_of on claim (prediction_id);
"""
_BUSY_MS = 5_000


def nobody(claim: Claim) -> Held | None:  # noqa: ARG001
    """Say that there was no one before."""
    return None


class SqliteClaims(Table):
    """Claims in a file, for all processes that have it."""

    def __init__(
        self, path: Path, holder: Holder, secret: bytes, earlier: Earlier = nobody
    ) -> None:
        """Open it, or make it. Raises ClaimsUnavailable, JournalFull."""
        try:
            if not path.exists():
                # SQLite would create it with the umask's mode.
                os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
                folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
                os.fsync(folder)
                os.close(folder)
            self._db = apsw.Connection(str(path))
            self._db.set_busy_timeout(_BUSY_MS)
            self._db.execute("pragma journal_mode = wal")
            # FULL: a claim is as durable as the record that it stands for.
            self._db.execute("pragma synchronous = full")
            with self._db:
                self._db.execute(_SCHEMA)
        except (apsw.Error, OSError) as error:
            raise _translated(error) from error
        super().__init__(Desk(self._run, lambda: None), holder, secret, earlier)

    def finish(self, prediction: Prediction) -> Future[None]:  # noqa: ARG002
        """Nothing to keep: its journal has it."""
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def settle(
        self,
        alive: Callable[[Holder], bool],  # noqa: ARG002
        find: Callable[[PredictionId], Prediction | None],  # noqa: ARG002
    ) -> int:
        """Nothing to say: their journals can be read."""
        return 0

    def forget(self, id: PredictionId) -> None:
        """Nothing is kept of an answer."""

    def close(self) -> None:
        """Write what is waiting, then let go of the file."""
        super().close()
        self._db.close()

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement; see table.Transaction."""
        return list(self._db.execute(sql, values))

    def _run(self, jobs: list[Job]) -> list[Any]:
        try:
            # Immediate: two processes that had both read could not both go on to write.
            self._db.execute("begin immediate")
            try:
                answers = [job.do(self) for job in jobs]
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise
        except apsw.Error as error:
            raise _translated(error) from error
        return answers


def _translated(error: apsw.Error | OSError) -> ClaimsUnavailable | JournalFull:
    if isinstance(error, apsw.FullError) or getattr(error, "errno", None) in (28, 122):
        return JournalFull()
    return ClaimsUnavailable(f"the claims' file refuses: {type(error).__name__}")
