"""A right that one process holds at a time."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from ddx.errors import DeliveryInUse


class Lease:
    """The right to deliver, held by one process, and given back when it dies."""

    def __init__(self, path: Path) -> None:
        """Take it. Raises DeliveryInUse, naming the process that holds it."""
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._fd, 20, 0).decode(errors="replace").strip() or "another"
            os.close(self._fd)
            raise DeliveryInUse(f"process {holder} delivers from {path.parent.name}") from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def touch(self) -> None:
        """Say that the holder makes progress."""
        os.utime(self._fd)

    def release(self) -> None:
        """Give it back. The file stays: removing it would let two processes hold a lease."""
        os.close(self._fd)


def held_by(path: Path) -> int | None:
    """Return the process id that holds a lease, None where nobody does."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with suppress(ValueError):
            return int(os.pread(fd, 20, 0))
    finally:
        os.close(fd)
    return None
