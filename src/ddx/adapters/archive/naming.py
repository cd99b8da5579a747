"""A place as people name it."""

from __future__ import annotations

from pathlib import Path

from ddx.adapters.archive.object_store import SCHEMES, ObjectPlace
from ddx.adapters.archive.places import LocalPlace, Place
from ddx.errors import OutputRefused


def place(said: str) -> Place:
    """Return a place as people name it: a path, or `s3://`, `gs://`, `wasbs://`, `abfss://`.

    Raises OutputRefused, and MissingExtra where its library is not installed.
    """
    scheme, separator, _ = said.partition("://")
    if not separator:
        return LocalPlace(Path(said).absolute())
    if scheme not in SCHEMES:
        named = ", ".join(f"{one}://" for one in SCHEMES)
        raise OutputRefused(f"{scheme}:// is no place for a backup: those are a path, {named}")
    return ObjectPlace(said)
