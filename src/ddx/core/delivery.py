"""The states of one delivery to MLflow, and when to try again.

waiting -> opening -> opened -> acknowledged
|          `-> (sent again: the same values, so nothing changes)
`-> looked for by its tag before any second create
any of them -> quarantined, after MLflow refused it for good
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a delivery stands, as its own database keeps it."""

    WAITING = "waiting"
    OPENING = "opening"
    """A create may have been sent: its answer was not seen."""
    OPENED = "opened"
    """The run exists and its id is known; it may be half filled."""
    ACKNOWLEDGED = "acknowledged"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits that double up to a limit, spread by luck."""

    first_s: float = 0.5
    limit_s: float = 60.0

    def wait_s(self, failures: int, luck: float) -> float:
        """Seconds to wait after `failures` in a row; `luck` is in [0, 1).

        >>> [Backoff().wait_s(n, luck=0.0) for n in (1, 2, 3, 100)]
        [0.25, 0.5, 1.0, 30.0]
        """
        # The exponent is bounded: 2 ** 1100 is no float.
        wait = min(self.limit_s, self.first_s * 2.0 ** min(failures - 1, 60))
        return wait * (1 + luck) / 2
