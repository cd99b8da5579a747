"""Folders and files of an installation: made private, measured, rotated, deleted."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
_KEPT_LOGS = 3


def make_private(folders: Iterable[Path], files: Iterable[Path] = ()) -> None:
    """Make each folder, and take from others any right to it and to each file that is there."""
    for folder in folders:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        _narrow(folder, PRIVATE_FOLDER)
    for file in files:
        if file.is_file():
            _narrow(file, PRIVATE_FILE)


def _narrow(path: Path, mode: int) -> None:
    """Change a mode only where it gives others something: it may not be ours to change."""
    if path.stat().st_mode & 0o077:
        path.chmod(mode)


def open_to_others(paths: Iterable[Path]) -> list[str]:
    """Return `path (mode)` of each that someone else may read, write or list."""
    modes = ((path, stat.S_IMODE(path.stat().st_mode)) for path in paths if path.exists())
    return [f"{path} ({mode:o})" for path, mode in modes if mode & 0o077]


def rotate(log: Path) -> None:
    """Begin a log anew: the old one becomes .1, that one .2, and the oldest goes."""
    names = [log, *(log.with_name(f"{log.name}.{n}") for n in range(1, _KEPT_LOGS + 1))]
    for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
        if newer.exists():
            newer.replace(older)


def last_lines(log: Path, count: int = 3) -> str:
    """Return the end of a log, indented; nothing where there is none."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-count:]
    except OSError:
        return ""
    return "\n".join(f"  {line[:300]}" for line in [f"{log} ends:", *lines])


def bytes_in(path: Path) -> int:
    """Return the size of a file, or of all files in a folder; 0 where there is none."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())


def delete(path: Path) -> None:
    """Delete a file or a folder with all that is in it; nothing happens where it is gone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
