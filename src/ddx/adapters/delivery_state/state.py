"""The deliverer's notes, as it keeps them."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Self

from ddx.adapters.delivery_state.file import (
    COLUMNS,
    deliveries_of,
    open_or_replace,
    place_of,
    status_of,
    translated,
    with_life,
)
from ddx.adapters.delivery_state.lease import Lease
from ddx.adapters.delivery_state.share import Share
from ddx.core.delivery import Delivery, DeliveryStatus, Place, State
from ddx.core.record import PredictionId
from ddx.errors import DeliveryInUse

_BEAT_S = 1.0
"""How often an idle deliverer says that it lives."""
_FAILURE_EACH_S = 10.0
_STALE_MS = 120_000
"""Longer than a deliverer waits after a failure before it tries, and fails, again."""
_SHARED_TRIES = 500
"""Five seconds: another who shares opens the notes alone, for a moment, when it is the first."""


class SqliteDeliveryState:
    """The deliverer's notes, and the lease that makes it the only one, or one of those who share.

    Who shares writes only notes of journals whose lease it holds (Share).
    """

    def __init__(self, data: Path, *, shared: bool = False) -> None:
        """Take the lease and open the notes. Raises DeliveryInUse, JournalUnavailable."""
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = data / "delivery.db"
        self._lease, alone = _lease(data / "delivery.lock", shared=shared)
        try:
            self._db = open_or_replace(self._path, alone=alone)
            if shared and alone:
                self._lease.share()
            self.share = Share(data) if shared else None
        except BaseException:
            self._lease.release()
            raise
        self._beat_s = self._failed_s = 0.0
        self._error_code = status_of(self._db).error_code

    def place(self, journal_id: str) -> Place | None:
        """Return how far a journal is delivered, None where it was never seen."""
        with translated():
            return place_of(self._db, journal_id)

    def set_place(self, place: Place) -> None:
        """Keep where a journal stands."""
        with translated(), self._db:
            self._db.execute(
                "insert or replace into place values (?, ?, ?, ?, ?)",
                (
                    place.journal_id,
                    place.cursor,
                    place.door,
                    place.look_below,
                    place.resend_below,
                ),
            )

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Keep these as they stand now, all or none."""
        with translated(), self._db:
            self._put(deliveries)

    def take(self, delivery: Delivery) -> None:
        """Keep it, and move its journal's cursor up to it, in one step."""
        with translated(), self._db:
            self._put([delivery])
            self._advance(delivery.journal_id, delivery.seq)

    def acknowledge(self, journal_id: str, cursor: int, ids: Sequence[PredictionId] = ()) -> None:
        """Move the cursor to `cursor`, never back, and drop these deliveries."""
        with translated(), self._db:
            self._advance(journal_id, cursor)
            self._db.executemany(
                "delete from delivery where prediction_id = ?", [(id,) for id in ids]
            )

    def deliveries(self, states: Collection[State], limit: int) -> Sequence[Delivery]:
        """Return up to `limit` deliveries in these states, in order of journal and sequence."""
        with translated():
            return deliveries_of(self._db, states, limit)

    def alive(self, error_code: str | None) -> None:
        """Note progress, or the code of a failure, for other processes."""
        now_s, now_ms = time.monotonic(), time.time_ns() // 1_000_000
        if error_code is not None:
            if error_code != self._error_code or now_s - self._failed_s >= _FAILURE_EACH_S:
                self._note_failure(error_code, now_ms)
                self._failed_s = now_s
            return
        if self._error_code is not None:
            self._note_failure(None, now_ms)
        if now_s - self._beat_s >= _BEAT_S:
            self._beat_s = now_s
            # The lease's file time, not a row: a heart-beat is no reason to sync a disk.
            if self.share is None:
                self._lease.touch()
            else:
                self.share.touch()
                self._forget_failure_of_the_dead(now_ms)

    def status(self) -> DeliveryStatus:
        """Return what other processes may know."""
        with translated():
            return with_life(status_of(self._db), self._lease.path)

    def forget(self) -> None:
        """Forget all deliveries and places."""
        with translated(), self._db:
            self._db.execute("delete from delivery")
            self._db.execute("delete from place")

    def close(self) -> None:
        """Let go of the file and of the lease."""
        self._db.close()
        if self.share is not None:
            self.share.close()
        self._lease.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _note_failure(self, error_code: str | None, now_ms: int) -> None:
        with translated(), self._db:
            self._db.execute(
                "insert or replace into failure values (1, ?, ?)", (error_code, now_ms)
            )
        self._error_code = error_code

    def _forget_failure_of_the_dead(self, now_ms: int) -> None:
        """Take back what another said that fails no more: who still does says so again."""
        status = status_of(self._db)
        if status.error_code is not None and now_ms - status.error_ms > _STALE_MS:
            self._note_failure(None, now_ms)

    def _advance(self, journal_id: str, cursor: int) -> None:
        self._db.execute(
            "update place set cursor = ? where journal_id = ? and cursor < ?",
            (cursor, journal_id, cursor),
        )

    def _put(self, deliveries: Sequence[Delivery]) -> None:
        self._db.executemany(
            f"insert or replace into delivery ({COLUMNS})"  # noqa: S608  (a constant)
            " values (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    one.journal_id,
                    one.seq,
                    one.prediction_id,
                    one.state.value,
                    one.changed_ms,
                    one.run_id,
                    one.attempts,
                    one.error_code,
                )
                for one in deliveries
            ],
        )


def _lease(path: Path, *, shared: bool) -> tuple[Lease, bool]:
    """Return the lease, and whether it is held alone: so it is even by who shares, if first."""
    try:
        return Lease(path), True
    except DeliveryInUse:
        if not shared:
            raise
    return Lease(path, shared=True, tries=_SHARED_TRIES), False
