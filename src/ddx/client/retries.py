"""When to try again: decided here for both clients, slept there."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ddx.client import answers
from ddx.client.errors import BadReply, Problem, Refused, Unreachable

STATUSES = frozenset({429, 500, 502, 503, 504})
FIRST_REFUSAL = 300
"""A redirection is none of ours: what stands between sent it."""
HOPELESS = frozenset({"model_not_configured"})
"""Codes that waiting does not mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often and when. `attempts = 1` is: never again."""

    attempts: int = 4
    first_wait_s: float = 0.5
    """Doubled after each attempt, and spread over its second half by luck."""
    longest_wait_s: float = 30.0
    """A server that asks for more with Retry-After is not asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """It is no refusal."""
        return self.status < FIRST_REFUSAL

    @property
    def problem(self) -> Problem:
        """The problem document in it, or one made of its status where a proxy answered."""
        try:
            return answers.read(answers.problem, self.body)
        except BadReply:
            return Problem(
                status=self.status,
                code="http_error",
                detail=f"HTTP {self.status} without a problem document.",
                advice="Look at what stands between this program and the server.",
            )


class Tries:
    """Counts the tries of one request."""

    def __init__(self, retries: Retries, luck: Callable[[], float] = random.random) -> None:
        self._retries = retries
        self._luck = luck
        self._made = 0

    def after(self, reply: Reply) -> float:
        """Return the seconds to wait after a refusal. Raises Refused where it is the last."""
        problem = reply.problem
        asked_s = retry_after_s(reply.headers.get("retry-after"))
        refused = Refused(problem, asked_s)
        if reply.status not in STATUSES or problem.code in HOPELESS:
            raise refused
        if asked_s is not None and asked_s > self._retries.longest_wait_s:
            raise refused
        return max(self._next(refused), asked_s or 0.0)

    def broken(self, kind: str) -> float:
        """Return the seconds to wait after a connection failed. Raises Unreachable."""
        return self._next(Unreachable(f"The server does not answer ({kind})."))

    def _next(self, error: Refused | Unreachable) -> float:
        self._made += 1
        if self._made >= self._retries.attempts:
            raise error
        doubled: float = self._retries.first_wait_s * 2 ** min(self._made - 1, 20)
        return min(self._retries.longest_wait_s, doubled) * (1 + self._luck()) / 2


def retry_after_s(header: str | None) -> float | None:
    """Return a Retry-After in seconds from now, None where there is no sane one.

    >>> retry_after_s("5"), retry_after_s("soon"), retry_after_s("-1")
    (5.0, None, None)

    Source: RFC 9110, section 10.2.3: seconds, or a date.
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
        seconds = max(0.0, seconds)
    return seconds if 0 <= seconds < math.inf else None
