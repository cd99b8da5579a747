"""A disk that fails as it is told to, as a file system layer of SQLite."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw


class FaultyDisk(apsw.VFS):
    """Passes everything on, until told to fail; remembers what was synced."""

    def __init__(self, name: str, synced: Path) -> None:
        super().__init__(name, "")
        self.name = name
        self.fail_sync = False
        self.full = False
        self.syncs = 0
        self._synced = synced
        """Copies of each file as of its last sync: what a power cut leaves at the least."""

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        (self._synced / Path(filename).name).unlink(missing_ok=True)

    def keep(self, path: str) -> None:
        self.syncs += 1
        shutil.copyfile(path, self._synced / Path(path).name)


class _File(apsw.VFSFile):
    def __init__(
        self, disk: FaultyDisk, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else (name or "")

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._disk.full:
            raise apsw.FullError
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._disk.fail_sync:
            raise apsw.IOError
        super().xSync(flags)
        if self._path:
            self._disk.keep(self._path)


@contextmanager
def faulty_disk(folder: Path, name: str) -> Iterator[FaultyDisk]:
    """A faulty disk, known to SQLite by its name as long as the context lasts."""
    folder.mkdir()
    disk = FaultyDisk(name, folder)
    try:
        yield disk
    finally:
        disk.unregister()
