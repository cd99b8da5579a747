"""Start several processes together, keep them running, and stop them in order."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ddx.core.delivery import Backoff
from ddx.errors import PortInUse, ServerNotReady
from ddx.ports import Clock

_LOOK_EVERY_S = 0.1
_TELL_EVERY_S = 5.0
_STEADY_AFTER_S = 60.0
"""A process that has run so long has its earlier failures forgiven."""
_BACKOFF = Backoff(limit_s=5.0)
"""Short: somebody may be waiting for an answer, and a try every few seconds costs little."""
_TRIES_AT_START = 3


class Child(Protocol):
    """A process that we started, with everything that it started itself."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def ended(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs."""

    def terminate(self) -> None:
        """Ask it to finish what it is doing and to end. Nothing happens where it has ended."""

    def kill(self) -> None:
        """End it and all that it started, at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What to start and how to know that it works."""

    name: str
    start: Callable[[], Child]
    waits_for: Callable[[], str | None]
    """Says what is missing until it is ready; None once it is."""
    holder: Callable[[], str | None] = lambda: None
    """Says who holds a port that it needs; None where the port is free."""
    buried: Callable[[int], None] = lambda pid: None  # noqa: ARG005
    """Is told of one that ended by itself, before it is started again."""
    last_words: Callable[[], str] = lambda: ""
    """The end of its log, for the error that says it did not start."""
    ready_within_s: float = 180.0
    stop_within_s: float = 30.0


class Supervisor:
    """Runs the processes of an installation until told to stop.

    They are started together and stopped one by one, in the order of `specs`, or `at_once`. One
    that ends
    is started again with a back-off, and that is said; but one that has never been ready and
    ends three times is an error.
    """

    def __init__(
        self,
        specs: Sequence[Spec],
        *,
        clock: Clock,
        say: Callable[[str], None],
        backoff: Backoff | None = None,
        luck: Callable[[], float] = random.random,
        at_once: bool = False,
    ) -> None:
        self._at_once = at_once
        self._watches = [_Watch(spec, clock, say, backoff or _BACKOFF, luck) for spec in specs]
        self._clock = clock
        self._say = say
        self._stop = threading.Event()
        self._hurry = threading.Event()

    def stop(self) -> None:
        """Make `run` stop everything and return; a second call does not wait for anyone."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def check_ports(self) -> None:
        """Raise PortInUse, naming the holder, where a port that is needed is taken."""
        for watch in self._watches:
            holder = watch.spec.holder()
            if holder is not None:
                raise PortInUse(f"{watch.spec.name} cannot start: {holder}")

    def run(self, on_ready: Callable[[], None]) -> None:
        """Start, supervise, stop. `on_ready` is called once, when all are ready.

        Raises ServerNotReady after everything is stopped again.
        """
        try:
            for watch in self._watches:
                watch.start()
            if self._wait_until_ready():
                on_ready()
            while not self._stop.wait(_LOOK_EVERY_S):
                for watch in self._watches:
                    watch.look(starting=False)
        finally:
            self._stop_all()

    def _wait_until_ready(self) -> bool:
        """Return True once all are ready, False where told to stop before."""
        began_at = self._clock.monotonic()
        told = 0
        while not self._stop.wait(_LOOK_EVERY_S):
            for watch in self._watches:
                watch.look(starting=True)
            missing = [watch.spec.name for watch in self._watches if not watch.ready]
            if not missing:
                return True
            waited_s = self._clock.monotonic() - began_at
            if waited_s // _TELL_EVERY_S > told:
                told += 1
                self._say(f"waiting for {' and '.join(missing)}, {waited_s:.0f} s so far")
        return False

    def _stop_all(self) -> None:
        for watch in self._watches if self._at_once else ():
            if watch.child is not None and watch.child.ended() is None:
                watch.child.terminate()
        for watch in self._watches:
            child = watch.child
            if child is None:
                continue
            asked_at = self._clock.monotonic()
            if child.ended() is None and not self._at_once:
                child.terminate()
            while child.ended() is None and not self._hurry.is_set():
                if self._clock.monotonic() - asked_at > watch.spec.stop_within_s:
                    self._say(f"{watch.spec.name} did not stop in time: it is killed")
                    break
                self._hurry.wait(_LOOK_EVERY_S / 2)
            child.kill()
            self._say(f"{watch.spec.name} stopped")


class _Watch:
    """One process over its lives."""

    def __init__(
        self,
        spec: Spec,
        clock: Clock,
        say: Callable[[str], None],
        backoff: Backoff,
        luck: Callable[[], float],
    ) -> None:
        self.spec = spec
        self.child: Child | None = None
        self.ready = False
        self._clock = clock
        self._say = say
        self._backoff = backoff
        self._luck = luck
        self._started_at = 0.0
        self._start_again_at = 0.0
        self._failures = 0

    def start(self) -> None:
        self.ready = False
        self._started_at = self._clock.monotonic()
        self.child = self.spec.start()

    def look(self, *, starting: bool) -> None:
        """Take the process one step further; `starting`: no restart is endless yet."""
        now = self._clock.monotonic()
        if self.child is None:
            if now >= self._start_again_at:
                self.start()
        elif (code := self.child.ended()) is not None:
            self._bury(self.child, f"ended ({_how(code)})", starting=starting)
        elif not self.ready:
            missing = self.spec.waits_for()
            if missing is None:
                self.ready = True
                self._say(f"{self.spec.name} is ready after {now - self._started_at:.1f} s")
            elif now - self._started_at > self.spec.ready_within_s:
                late = f"is not ready after {now - self._started_at:.0f} s: {missing}"
                if starting:
                    raise ServerNotReady(f"{self.spec.name} {late}{self._said()}")
                self._bury(self.child, late, starting=starting)

    def _bury(self, child: Child, what: str, *, starting: bool) -> None:
        """Clear away a process that failed, and say when it is started again."""
        # What it left running would hold its port against its successor.
        child.kill()
        self.spec.buried(child.pid)
        self.child = None
        now = self._clock.monotonic()
        steady = now - self._started_at > _STEADY_AFTER_S
        self._failures = 1 if steady else self._failures + 1
        if starting and not self.ready and self._failures >= _TRIES_AT_START:
            raise ServerNotReady(
                f"{self.spec.name} {what} {self._failures} times before it was ready{self._said()}"
            )
        self.ready = False
        wait_s = self._backoff.wait_s(self._failures, self._luck())
        self._start_again_at = now + wait_s
        self._say(f"{self.spec.name} {what}; it is started again in {wait_s:.1f} s")

    def _said(self) -> str:
        words = self.spec.last_words()
        return f"\n{words}" if words else ""


def _how(code: int) -> str:
    """Say an exit code.

    >>> _how(3), _how(-9)
    ('exit code 3', 'signal 9')
    """
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
