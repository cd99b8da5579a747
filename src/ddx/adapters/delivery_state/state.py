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
from ddx.core.delivery import Delivery, DeliveryStatus, Place, State
from ddx.core.record import PredictionId

_BEAT_S = 1.0
"""How often an idle deliverer says that it lives."""


class SqliteDeliveryState:
    """The deliverer's notes, and the lease that makes it the only one."""

    def __init__(self, data: Path) -> None:
        """Take the lease and open the notes. Raises DeliveryInUse, JournalUnavailable."""
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = data / "delivery.db"
        self._lease = Lease(data / "delivery.lock")
        try:
            self._db = open_or_replace(self._path)
        except BaseException:
            self._lease.release()
            raise
        self._beat_s = 0.0
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
        if error_code != self._error_code:
            with translated(), self._db:
                self._db.execute(
                    "insert or replace into failure values (1, ?, ?)",
                    (error_code, time.time_ns() // 1_000_000),
                )
            self._error_code = error_code
        now_s = time.monotonic()
        if error_code is None and now_s - self._beat_s >= _BEAT_S:
            # The lease's file time, not a row: a heart-beat is no reason to sync a disk.
            self._lease.touch()
            self._beat_s = now_s

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
        self._lease.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
