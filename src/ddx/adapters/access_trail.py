"""The trail of looks: lines appended under a lock, on stable storage before a look is answered.

One file a month, `ddx_data/access/2026-11.jsonl`, mode 0600; the chain goes on from file to file.
Several processes may write. What waits is written together: one fsync for all.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from ddx.core.access import GENESIS, Look, read
from ddx.errors import AccessTrailUnavailable

FOLDER = "access"
_TAIL_BYTES = 1 << 20
"""Longer than any line: a look names at most some hundred predictions."""


class AccessTrail:
    """The trail of a data folder. Safe for threads and processes."""

    def __init__(self, data: Path) -> None:
        """Open nothing yet."""
        self._folder = data / FOLDER
        self._waiting: list[tuple[Look, Future[int]]] = []
        self._mutex, self._writing = threading.Lock(), threading.Lock()

    def add(self, look: Look) -> int:
        """Keep a look; return its number once it would survive a power cut. Blocks.

        Raises AccessTrailUnavailable; then nothing is kept of it.
        """
        kept: Future[int] = Future()
        with self._mutex:
            self._waiting.append((look, kept))
        with self._writing:
            # Whoever comes first writes for all that wait by then.
            with self._mutex:
                batch, self._waiting = self._waiting, []
            if batch:
                self._keep(batch)
        return kept.result()

    def lines(self) -> Iterator[str]:
        """Yield every line, oldest first. Raises AccessTrailUnavailable."""
        for file in self._files():
            try:
                with file.open(encoding="utf-8", errors="replace") as lines:
                    yield from (line.removesuffix("\n") for line in lines)
            except OSError as error:
                raise _unavailable(error) from error

    def newest(self) -> Look | None:
        """Return the last look, None where there is none. Raises AccessTrailUnavailable."""
        try:
            for file in reversed(self._files()):
                found = _last_line(file)
                if found:
                    return read(found)
        except OSError as error:
            raise _unavailable(error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise AccessTrailUnavailable("the last line of the trail is damaged") from error
        return None

    # --- writing ------------------------------------------------------------------------

    def _keep(self, batch: Sequence[tuple[Look, Future[int]]]) -> None:
        try:
            numbers = self._append([look for look, _ in batch])
        except (OSError, AccessTrailUnavailable) as error:
            fault = error if isinstance(error, AccessTrailUnavailable) else _unavailable(error)
            for _, kept in batch:
                kept.set_exception(fault)
            return
        for (_, kept), number in zip(batch, numbers, strict=True):
            kept.set_result(number)

    def _append(self, looks: Sequence[Look]) -> list[int]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._alone():
            last = self.newest()
            seq, link = (last.seq, last.link) if last else (0, GENESIS)
            placed = []
            for look in looks:
                found = look.chained(seq + 1, link)
                seq, link = found.seq, found.link
                placed.append(found)
            self._put(placed)
        return [look.seq for look in placed]

    def _put(self, looks: Sequence[Look]) -> None:
        names = self._files()
        month = looks[0].at[:7]
        # A clock that went back opens no earlier file: the order of files is that of the chain.
        file = self._folder / f"{max([month, *(one.stem for one in names)])}.jsonl"
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # A line that a power cut tore was never answered: the next takes its place.
            whole, done = _whole_bytes(file), 0
            data = "".join(look.line() + "\n" for look in looks).encode()
            try:
                os.ftruncate(handle, whole)
                while data:
                    written = os.pwrite(handle, data, whole + done)
                    done, data = done + written, data[written:]
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, whole)
                raise
        finally:
            os.close(handle)
        if file not in names:
            _sync(self._folder)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("[0-9]*-[0-9]*.jsonl"))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = os.open(self._folder / "trail.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _tail(file: Path) -> tuple[int, bytes]:
    """Return a file's size and its last bytes."""
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size - _TAIL_BYTES))
        return size, opened.read()


def _whole_bytes(file: Path) -> int:
    """Return where the last whole line ends."""
    size, tail = _tail(file)
    return size - len(tail) + tail.rfind(b"\n") + 1


def _last_line(file: Path) -> str:
    _, tail = _tail(file)
    whole = tail[: tail.rfind(b"\n") + 1].rstrip(b"\n")
    return whole.rpartition(b"\n")[2].decode()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unavailable(error: OSError) -> AccessTrailUnavailable:
    kind = error.strerror or type(error).__name__
    return AccessTrailUnavailable(f"the trail of looks cannot be written or read: {kind}")
