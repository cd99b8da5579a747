"""Trackers: who holds one, and how its prediction stands."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ddx.core.record import (
    Completion,
    Prediction,
    PredictionId,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A tracker and the body that it stands for."""

    scope: str
    """The caller: two callers may use the same tracker."""
    tracker: str
    body: bytes
    """Canonical bytes of the request without its tracker; kept only as a keyed hash."""
    replaces: PredictionId | None = None
    """The failed or interrupted prediction that this one tries again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process that takes claims."""

    node: str
    """Its data folder: only who has the same one can read its journal."""
    instance: str
    """Its journal."""
    life: str
    """Of this process alone: who starts after it has another one."""


class Standing(StrEnum):
    """How the prediction of a claim stands, as far as the claims know."""

    UNKNOWN = "unknown"
    """Its journal knows."""
    RUNNING = "running"
    ANSWERED = "answered"
    ENDED = "ended"
    """Failed or interrupted: to be tried again."""
    ERASED = "erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The tracker is taken."""

    by: PredictionId
    same_body: bool
    holder: Holder | None = None
    """Who took it; None where that is the journal that was asked, or one of before."""
    retry_of: PredictionId | None = None
    """What `by` tries again."""
    standing: Standing = Standing.UNKNOWN
    reply: Completion | None = None
    """Where it is `answered`: enough to answer again, for who cannot read its journal."""
    heard: bool = True
    """Whether the holder gave a sign of life lately; asked where it is on another node."""


class Claims(Protocol):
    """Who holds a tracker, the same for all processes of a deployment.

    A claim is taken before its prediction is accepted, and is as durable. Futures hold
    ClaimsUnavailable where nothing can be decided now; then nothing has changed.
    """

    holder: Holder
    """As whom this process takes them."""

    def take(self, claim: Claim, prediction: Prediction) -> Future[Held | None]:
        """Take a tracker for a prediction; None once the claim would survive a power cut.

        Where another prediction than `claim.replaces` holds it, nothing changes, and the answer
        is who.
        """

    def look(self, claim: Claim) -> Future[Held | None]:
        """Return who holds a tracker now, and take nothing."""

    def release(self, id: PredictionId) -> None:
        """Give up the claim of a prediction that no journal took, now or as soon as it can be."""

    def finish(self, prediction: Prediction) -> Future[None]:
        """Keep how a prediction ended, for those who cannot read its journal.

        What cannot be kept now is kept as soon as it can be.
        """

    def settle(
        self,
        alive: Callable[[Holder], bool],
        find: Callable[[PredictionId], Prediction | None],
    ) -> int:
        """Say of the claims that dead processes of this node left how they stand; how many.

        To be called when their journals are closed. Blocks. Raises ClaimsUnavailable.
        """

    def forget(self, id: PredictionId) -> None:
        """Destroy what is kept of an erased prediction's answer. Blocks.

        Raises ClaimsUnavailable.
        """

    def close(self) -> None:
        """Write what is waiting, then let go."""
