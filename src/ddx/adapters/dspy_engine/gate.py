"""The way to one endpoint: so many calls at once, and none for a while where all of them fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FAILURES = 20
"""So many calls in a row that got no answer close the gate. High, so that a provider that fails
two calls in five is not taken for a dead one: that many in a row are one chance in 90 million."""
CLOSED_S = 10.0
"""How long nobody is let through; then one call tries."""


class GateClosed(Exception):
    """The endpoint is not asked for now."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"not asked for {seconds:.0f} s more")
        self.seconds = seconds


class GateBusy(Exception):
    """No place came free in time."""


class Gate:
    """Shared by all models of one endpoint. Safe in threads.

    >>> gate = Gate(at_once=1)
    >>> gate.enter(wait_s=0.0)
    >>> gate.enter(wait_s=0.0)
    Traceback (most recent call last):
    ddx.adapters.dspy_engine.gate.GateBusy
    >>> gate.leave(answered=True)
    """

    def __init__(
        self, *, at_once: int | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        """`at_once`: most calls under way; None for no limit."""
        self._places = threading.BoundedSemaphore(at_once) if at_once else None
        self._lock = threading.Lock()
        self._now = now
        self._failures = 0
        self._closed_until = 0.0
        self._trying = False

    def enter(self, wait_s: float) -> None:
        """Take a place; `leave` gives it back. Raises GateClosed, GateBusy."""
        self._check()
        if self._places is not None and not self._places.acquire(timeout=max(0.0, wait_s)):
            self._done_trying()
            raise GateBusy

    def leave(self, *, answered: bool) -> None:
        """Give the place back, and say whether the endpoint answered, be it with an error."""
        if self._places is not None:
            self._places.release()
        with self._lock:
            self._trying = False
            self._failures = 0 if answered else self._failures + 1
            if self._failures >= FAILURES:
                self._closed_until = self._now() + CLOSED_S

    def _check(self) -> None:
        with self._lock:
            if self._failures < FAILURES:
                return
            left = self._closed_until - self._now()
            if left > 0 or self._trying:
                raise GateClosed(max(left, 1.0))
            self._trying = True

    def _done_trying(self) -> None:
        with self._lock:
            self._trying = False
