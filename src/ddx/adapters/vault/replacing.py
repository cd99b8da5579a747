"""New content in the place of a file of keys, and the old content overwritten.

Killed at any moment, the file is whole, the old one or the new one; `finish` does the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

NEW, OLD = ".new.part", ".old.part"
"""What the names of the draft and of the old content add while a file is replaced."""
_CHUNK = 1 << 20
Moment = Callable[[str], None]


def replace(path: Path, write: Callable[[IO[bytes]], None], at: Moment) -> None:
    """Put what `write` writes in a file's place. `at` is told each step that a kill can follow."""
    finish(path)
    draft, old = _beside(path)
    with draft.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        write(file)
        file.flush()
        os.fsync(file.fileno())
    at("written")
    if path.exists():
        # A name for the old content: without one nobody could overwrite it after a kill.
        os.link(path, old)
        sync_folder(path.parent)
    at("linked")
    draft.rename(path)
    sync_folder(path.parent)
    at("replaced")
    finish(path)


def finish(path: Path) -> None:
    """Overwrite and remove what a replacement that was killed has left."""
    draft, old = _beside(path)
    if old.exists() and path.exists() and old.samefile(path):
        old.unlink()  # the new content had not its name yet
    for left in (draft, old):
        if left.exists():
            overwrite(left)
            left.unlink()
    sync_folder(path.parent)


def overwrite(path: Path) -> None:
    """Write zeros over a file's content, durably, as far as its file system does it in place."""
    with path.open("r+b") as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0:
            left -= file.write(bytes(min(left, _CHUNK)))
        file.flush()
        os.fsync(file.fileno())


def leftovers(folder: Path) -> list[Path]:
    """Return what replacements that were killed have left below a folder."""
    return sorted(one for end in (NEW, OLD) for one in folder.rglob(f"*{end}"))


def target(left: Path) -> Path:
    """Return the file whose replacement left this."""
    return left.with_name(left.name.removesuffix(NEW).removesuffix(OLD))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _beside(path: Path) -> tuple[Path, Path]:
    return path.with_name(path.name + NEW), path.with_name(path.name + OLD)
