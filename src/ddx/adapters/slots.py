"""Names for processes that come and go on one machine: each is held by one of them at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

_held: list[int] = []
"""Open for as long as this process lives, and closed by its end, however it comes."""


def take(folder: Path, names: Iterable[str]) -> str | None:
    """Return the first of the names that no process holds, and hold it until the end of this one.

    None where all are held.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in names:
        fd = os.open(folder / f"{name}.slot", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            continue
        _held.append(fd)
        return name
    return None
