"""Where a backup's file is, or is to be: a folder, or an object store."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO

from ddx.errors import OutputRefused

_SYNC_EVERY = 16 << 20
"""Bytes of a file in a folder."""
_sync_data: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
"""macOS has the second alone."""


class Draft(ABC):
    """A file that is being written, and has its name only once it is kept."""

    @abstractmethod
    def write(self, data: bytes) -> int:
        """Take bytes. Raises OSError."""

    def flush(self) -> None:
        """Do nothing: whoever encrypts asks for it, and `keep` is what counts."""
        return

    @abstractmethod
    def keep(self) -> None:
        """Give it its name, whole and on stable storage. Raises OSError."""

    @abstractmethod
    def drop(self) -> None:
        """Leave nothing under its name, where it was not kept. Repeatable."""


class Place(ABC):
    """One file."""

    said: str
    """As it is named."""

    @property
    def name(self) -> str:
        """Return its name without the folder."""
        return self.said.rstrip("/").rpartition("/")[2]

    def beside(self, name: str) -> str:
        """Return the file of this name in the same folder."""
        return self.said.rpartition("/")[0] + f"/{name}"

    @abstractmethod
    def size(self) -> int | None:
        """Return its length in bytes, None where nothing is there. Raises OSError."""

    @abstractmethod
    def remove(self) -> None:
        """Delete it. Raises OSError."""

    @abstractmethod
    def draft(self) -> Draft:
        """Begin to write it. Raises OSError, OutputRefused."""

    @abstractmethod
    def read(self) -> AbstractContextManager[IO[bytes]]:
        """Give what is in it, from its beginning to its end. Raises OSError."""


class LocalPlace(Place):
    """A file in a folder."""

    def __init__(self, path: Path) -> None:
        self.path, self.said = path, str(path)

    def size(self) -> int | None:
        """Return its length."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return None

    def remove(self) -> None:
        """Delete it."""
        self.path.unlink()

    def draft(self) -> Draft:
        """Begin it beside its name."""
        if not self.path.parent.is_dir():
            raise OutputRefused(f"there is no folder {self.path.parent}")
        return _LocalDraft(self.path)

    @contextmanager
    def read(self) -> Iterator[IO[bytes]]:
        """Open it."""
        with self.path.open("rb") as file:
            yield file


class _LocalDraft(Draft):
    """Written out bit by bit, for a journal's sync beside it waits for what is not: in a thread of
    its own, so that the next bytes come meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._draft = path, path.with_name(f".{path.name}.part")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._file = os.fdopen(os.open(self._draft, flags, 0o600), "wb")
        self._writing_out = ThreadPoolExecutor(1)
        self._last: Future[None] | None = None
        self._unsynced = 0

    def write(self, data: bytes) -> int:
        self._unsynced += len(data)
        if self._unsynced >= _SYNC_EVERY:
            self._file.flush()
            if self._last is not None:
                self._last.result()
            self._last = self._writing_out.submit(_sync_data, self._file.fileno())
            self._unsynced = 0
        return self._file.write(data)

    def keep(self) -> None:
        self._file.flush()
        self._writing_out.shutdown()
        os.fsync(self._file.fileno())
        self._file.close()
        try:
            # A link, for a rename would write over what somebody else made meanwhile.
            os.link(self._draft, self._path)
            self._draft.unlink()
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            self._draft.rename(self._path)
        _sync(self._path.parent)

    def drop(self) -> None:
        self._writing_out.shutdown()
        with suppress(OSError):
            self._file.close()
        self._draft.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
