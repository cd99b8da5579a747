"""Who asks: keys, tokens, and counts of what they may ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ddx.core.callers import ApiKey, Caller


class KeyShelf(Protocol):
    """Where the API keys are kept."""

    def stamp(self) -> object:
        """Return what changes when the keys do. Cheap."""

    def read(self) -> Sequence[ApiKey]:
        """Return the keys. Raises KeysUnavailable."""


class Issuer(Protocol):
    """Who vouches for callers by tokens that it signs."""

    def caller(self, token: str) -> Caller | None:
        """Return who sent a token; None where it is not of its kind. Asks nobody.

        Raises BadToken where it is, and is not good, ClaimMissing where it is good and does not
        say enough, IssuerUnavailable where that cannot be told without the issuer.
        """

    def lacks(self, token: str) -> bool:
        """Say whether the keys should be fetched before this token is judged.

        Never so often that a flood of tokens becomes a flood of questions.
        """

    @property
    def stale(self) -> bool:
        """Whether the keys should be fetched anew, while tokens are judged by these."""

    def fetch(self) -> None:
        """Fetch the keys. Blocks, and not for long. One call at a time.

        Raises IssuerUnavailable; then those that there were stay good for a while.
        """


class Counts(Protocol):
    """What callers use of their limits, in all processes of a server together."""

    def enter(self, caller: str, most: int) -> bool:
        """Count one more request of a caller under way; False where there are as many as may be."""

    def leave(self, caller: str) -> None:
        """Count one less."""

    def wait_s(self, caller: str, rate_per_minute: float, now_s: float) -> float:
        """Take one request of a caller's rate; return 0, or after how long there is one."""
