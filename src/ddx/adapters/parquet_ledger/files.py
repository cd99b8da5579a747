"""Which files the ledger is made of: a manifest, replaced whole.

A file is in the ledger once the manifest names it. What it does not name was left by a crash, or
is about to be deleted, and is read by nobody of ours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ddx.errors import LedgerUnavailable

FOLDER = "ledger"
_MANIFEST = "manifest.json"
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The ledger at one moment."""

    cursors: Mapping[str, int] = field(default_factory=dict)
    """Journal -> sequence of the last event that is in."""
    files: Mapping[str, int] = field(default_factory=dict)
    """File, relative to the ledger's folder -> rows."""
    change: int = 0
    """Grows with each: two looks with the same number saw the same rows."""

    def of(self, kind: str) -> list[str]:
        """Return the files of a kind, `predictions` or `feedback`, in the order of days."""
        return sorted(name for name in self.files if name.startswith(f"{kind}/"))


def read(folder: Path) -> Manifest:
    """Return the manifest; an empty one where there is none. Raises LedgerUnavailable."""
    try:
        said = json.loads((folder / _MANIFEST).read_text())
    except FileNotFoundError:
        return Manifest()
    except (OSError, ValueError) as error:
        raise LedgerUnavailable(f"{folder / _MANIFEST} cannot be read") from error
    if not isinstance(said, dict) or said.get("version") != _VERSION:
        raise LedgerUnavailable(f"{folder / _MANIFEST} was written by another version of ddx")
    return Manifest(cursors=said["cursors"], files=said["files"], change=said["change"])


def write(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest. Raises OSError.

    Synced, since what it names must be there after a power cut.
    """
    draft = folder / f".{_MANIFEST}"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(
            {
                "version": _VERSION,
                "change": manifest.change,
                "cursors": dict(manifest.cursors),
                "files": dict(manifest.files),
            },
            file,
        )
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / _MANIFEST)
    sync(folder)


def sync(folder: Path) -> None:
    """Sync a folder's names. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
