"""The deliverer's notes seen from another process."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw

from ddx.adapters.delivery_state.file import (
    FORMAT,
    deliveries_of,
    place_of,
    status_of,
    translated,
    with_life,
)
from ddx.adapters.delivery_state.lease import held_by
from ddx.core.delivery import Delivery, DeliveryStatus, Place, State


class DeliveryStatusReader:
    """Looks at the deliverer's notes from another process, and never changes them."""

    def __init__(self, data: Path) -> None:
        self._path = data / "delivery.db"
        self._lock = data / "delivery.lock"

    def status(self) -> DeliveryStatus:
        """Return the status; all empty where nothing was ever delivered.

        Raises JournalUnavailable where the file cannot be read.
        """
        with self._reading() as db:
            return with_life(status_of(db) if db else DeliveryStatus(), self._lock)

    def place(self, journal_id: str) -> Place | None:
        """Return how far a journal is delivered, None where it was never seen."""
        with self._reading() as db:
            return place_of(db, journal_id) if db else None

    def deliveries(self, states: Collection[State], limit: int) -> Sequence[Delivery]:
        """Return up to `limit` deliveries in these states, in order of journal and sequence."""
        with self._reading() as db:
            return deliveries_of(db, states, limit) if db else []

    def holder(self) -> int | None:
        """Return the process id of the deliverer that runs now, None where none does."""
        return held_by(self._lock)

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection | None]:
        # Opened for each look: a `reset` or a damaged file may put another in its place.
        if not self._path.exists():
            yield None
            return
        with translated():
            db = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                db.set_busy_timeout(2_000)
                db.execute("pragma query_only = on")
                # It may be older than its tables, where its maker was killed at birth.
                has_tables = db.execute("pragma user_version").get == FORMAT
                yield db if has_tables else None
            finally:
                db.close()
