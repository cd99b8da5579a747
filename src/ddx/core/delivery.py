"""The states of one delivery to MLflow, and when to try again.

waiting -> opening -> opened -> acknowledged
|          `-> (sent again: the same values, so nothing changes)
`-> looked for by its tag before any second create
any of them -> quarantined, after MLflow refused it for good
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ddx.core.record import PredictionId


class State(StrEnum):
    """Where a delivery stands, as its own database keeps it."""

    WAITING = "waiting"
    OPENING = "opening"
    """A create may have been sent: its answer was not seen."""
    OPENED = "opened"
    """The run exists and its id is known; it may be half filled."""
    ACKNOWLEDGED = "acknowledged"
    """Whole in MLflow. Kept only where a late twin may still turn up."""
    QUARANTINED = "quarantined"


UNFINISHED = frozenset({State.WAITING, State.OPENING, State.OPENED})
"""What still has to be brought to MLflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One delivery that is not simply the next: under way, in doubt, or refused."""

    journal_id: str
    seq: int
    """Of the prediction's `finished` event."""
    prediction_id: PredictionId
    state: State
    changed_ms: int
    """When it came into this state, in milliseconds since 1970."""
    run_id: str | None = None
    """Known from OPENED on."""
    attempts: int = 0
    """Failures of this one while MLflow answered others."""
    error_code: str | None = None
    """Of the last failure: a code, never a text, which could quote a case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far one journal is delivered."""

    journal_id: str
    cursor: int = 0
    """Each `finished` event up to here is whole in MLflow, or is a Delivery of its own."""
    door: str
    """The door that was last used."""
    look_below: int = 0
    """Up to here another door, or a lost state, may have made runs: look before creating."""
    resend_below: int = 0
    """Up to here a run that is found is filled again, even if it looks whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStatus:
    """What a look at the delivery state shows, from any process."""

    alive_ms: int = 0
    """When the deliverer last made progress or found nothing to do; 0 for never."""
    error_code: str | None = None
    """Of the last failure, until the next success."""
    error_ms: int = 0
    aside: int = 0
    """Deliveries under way or in doubt."""
    quarantined: int = 0
    oldest_aside: PredictionId | None = None
    cursors: dict[str, int] = field(default_factory=dict)
    """Journal id to cursor."""


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
