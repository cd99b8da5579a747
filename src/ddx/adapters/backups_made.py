"""What backups this installation made: their manifests, so that the next one need not read them.

An encrypted one could not be read here at all: what opens it is elsewhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FOLDER = "backups"
"""In the data folder; not part of a backup."""
_KEPT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A backup, as it was when it was made."""

    place: str
    """A path, or an address in an object store."""
    bytes: int
    manifest: str
    """Its text."""


def note(data: Path, made: Made, number: str) -> None:
    """Remember one; `number` orders them, as names. What cannot be noted fails no backup."""
    folder = data / FOLDER
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        beside = folder / f".{number}"
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            said = {"place": made.place, "bytes": made.bytes, "manifest": made.manifest}
            json.dump(said, file)
        beside.replace(folder / f"{number}.json")
        for old in sorted(folder.glob("*.json"))[:-_KEPT]:
            old.unlink()


def newest_first(data: Path) -> Iterator[Made]:
    """Yield those that are remembered."""
    for path in sorted((data / FOLDER).glob("*.json"), reverse=True):
        with suppress(OSError, ValueError, TypeError):
            yield Made(**json.loads(path.read_text(encoding="utf-8")))
