"""What comes about in a moment: waited for, and told of processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def eventually(true: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Whether something comes about in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if true():
            return True
        time.sleep(0.02)
    return False


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
