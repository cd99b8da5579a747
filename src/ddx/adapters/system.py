"""The clock, luck and disk of this machine."""

from __future__ import annotations

import os
import time
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


def free_bytes(folder: Path) -> int:
    """Return what an ordinary user may still write on the folder's disk."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
