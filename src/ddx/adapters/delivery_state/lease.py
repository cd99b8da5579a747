"""A right that one process holds at a time, or several that agree on it."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from ddx.errors import DeliveryInUse

_TRIES = 5
_TRY_EACH_S = 0.01
"""Who only looks whether a lease is held, holds it for a moment: that is no refusal."""


class Lease:
    """A right, given back when its process dies."""

    def __init__(self, path: Path, *, shared: bool = False, tries: int = _TRIES) -> None:
        """Take it, alone or with others who share it. Raises DeliveryInUse, naming a holder."""
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        wanted = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        for left in reversed(range(tries)):
            try:
                fcntl.flock(self._fd, wanted | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if left:
                    time.sleep(_TRY_EACH_S)
                    continue
                holder = os.pread(self._fd, 20, 0).decode(errors="replace").strip() or "another"
                os.close(self._fd)
                raise DeliveryInUse(f"process {holder} delivers from {path.parent.name}") from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def share(self) -> None:
        """Let others share it from now on."""
        fcntl.flock(self._fd, fcntl.LOCK_SH)

    def touch(self) -> None:
        """Say that the holder makes progress."""
        os.utime(self._fd)

    def release(self) -> None:
        """Give it back. The file stays: removing it would let two processes hold a lease."""
        os.close(self._fd)


def held_by(path: Path) -> int | None:
    """Return the process id that holds a lease, or one of those; None where nobody does."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with suppress(ValueError):
            return int(os.pread(fd, 20, 0))
        return 0
    finally:
        os.close(fd)
    return None
