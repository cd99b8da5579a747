"""Batches of cases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from ddx.core.batch import Batch, BatchId, CaseDone
from ddx.core.record import (
    Request,
)


class BatchStore(Protocol):
    """Where the cases of batches wait for their turn. The journal has them from then on.

    Writes raise JournalUnavailable, JournalFull where there is no room.
    """

    def take(
        self, caller: str, key: str | None, cases: Sequence[Request], now: datetime
    ) -> tuple[Batch, bool]:
        """Return a new batch, and True, once it would survive a power cut.

        With a key that this caller used before, that batch, and False; TrackerReused where its
        cases were others.
        """

    def find(self, id: BatchId) -> Batch | None:
        """Return a batch as it stands."""

    def open_ids(self) -> Sequence[BatchId]:
        """Return the batches that are not closed, oldest first."""

    def cases(self, id: BatchId) -> Sequence[Request]:
        """Return the cases of a batch that is not closed. Raises JournalDamaged."""

    def note(self, id: BatchId, done: CaseDone) -> None:
        """Keep how a case ended. A power cut may undo it until the batch is closed: the journal
        knows the outcome, and the case's tracker leads to it.
        """

    def close(self, id: BatchId) -> None:
        """Destroy the cases of a batch that is complete. Repeating it changes nothing."""
