"""What a backup says of itself: its manifest, the last file in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

FORMAT = "ddx-backup/1"
NAME = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file."""

    bytes: int
    sha256: str
    """64 hex digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All that a backup holds."""

    made_at: str
    """ISO 8601 in UTC."""
    version: str
    """Of the program that made it."""
    files: Mapping[str, Entry]
    events: Mapping[str, int] = field(default_factory=dict)
    """Instance of a journal -> sequence of its last event."""
    artifacts_path: str | None = None
    """Where MLflow's files were; None where MLflow's store is not in the backup."""

    def encode(self) -> bytes:
        """Return it as the file has it."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1).encode()


def decode(text: bytes) -> Manifest:
    """Read it. Raises ValueError."""
    try:
        said = json.loads(text)
        if said.pop("format") != FORMAT:
            raise ValueError("it is of another format")
        files = {name: Entry(**entry) for name, entry in said.pop("files").items()}
        return Manifest(files=files, **said)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the manifest is not one ({type(error).__name__})") from error


def faults(said: Manifest, found: Mapping[str, Entry]) -> list[str]:
    """Compare a manifest with the files that are there; say each difference.

    >>> one = Entry(bytes=1, sha256="aa")
    >>> said = Manifest(made_at="", version="", files={"a": one, "b": one})
    >>> faults(said, {"a": Entry(bytes=1, sha256="bb"), "c": one})
    ['a is not what was put in', 'b is missing', 'c is not in the manifest']
    """
    changed = [
        f"{name} is not what was put in" if name in found else f"{name} is missing"
        for name, entry in sorted(said.files.items())
        if found.get(name) != entry
    ]
    return changed + [
        f"{name} is not in the manifest" for name in sorted(found.keys() - said.files)
    ]
