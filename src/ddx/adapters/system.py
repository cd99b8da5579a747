"""The clock, luck and disk of this machine."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path


class SystemClock:
    """A Clock."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


luck = os.urandom


_NICE = 5


def yield_to_others() -> None:
    """Let other processes have the processor first, where both want it. Repeatable."""
    with suppress(OSError):
        os.nice(max(0, _NICE - os.nice(0)))


def free_bytes(folder: Path) -> int:
    """Return what an ordinary user may still write on the folder's disk."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
