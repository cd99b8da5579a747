"""An index on disk: arrays in an .npz, and a manifest that says what they were made from.

Nothing in it is trusted: what does not read back with the digest it claims is made anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ddx.adapters.knowledge.index import Index

log = logging.getLogger("ddx.knowledge")

_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
)
"""What numpy and zipfile raise on a damaged file, each in its own case."""
_STRINGS = "strings"

Build = Callable[[], tuple[dict[str, Any], dict[str, Any], str]]


def load_or_build(folder: Path, digests: Mapping[str, str], build: Build) -> Index:
    """Return the index made from sources of these digests, from `folder` where it is there.

    A folder that cannot be written costs time at the next start, nothing else.
    """
    key = _key({**digests, "format": code_digest()})
    found = _load(folder, key)
    if found is not None:
        return found
    arrays, strings, version = build()
    index = Index(arrays, strings, _digest(arrays, strings, version), version)
    try:
        _save(folder, key, index)
    except OSError as error:
        log.warning("knowledge index not cached", extra={"error": type(error).__name__})
    return index


def _key(digests: Mapping[str, str]) -> str:
    """Name of the index that is made from these sources."""
    return hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()[:16]


@cache
def code_digest() -> str:
    """Digest of the code that makes an index: a number kept by hand would be forgotten."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _load(folder: Path, key: str) -> Index | None:
    try:
        manifest = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
        with np.load(folder / f"{key}.npz", allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        text = arrays.pop(_STRINGS).tobytes()
        version = manifest["version"]
        if _digest(arrays, text, version) != manifest["digest"]:
            log.warning("knowledge index made anew", extra={"error": "digest differs"})
            return None
        return Index(arrays, json.loads(text), manifest["digest"], version)
    except FileNotFoundError:
        return None
    except _UNREADABLE as error:
        log.warning("knowledge index made anew", extra={"error": type(error).__name__})
        return None


def _save(folder: Path, key: str, index: Index) -> None:
    """Write arrays, then the manifest: a reader without a manifest builds its own."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = np.frombuffer(_dump(index.strings), np.uint8)
    write_whole(
        folder / f"{key}.npz",
        # Not compressed: undoing it would be a fifth of a start.
        lambda file: np.savez(file, **{**index.arrays, _STRINGS: text}),
    )
    manifest = {"version": index.version, "digest": index.digest}
    write_whole(folder / f"{key}.json", lambda file: file.write(json.dumps(manifest).encode()))


def write_whole(final: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Give a finished file its name; a reader sees all of it or nothing."""
    handle, name = tempfile.mkstemp(prefix=f".{final.name}.", dir=final.parent)
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(final)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _digest(arrays: Mapping[str, Any], strings: Mapping[str, Any] | bytes, version: str) -> str:
    """SHA-256 of names, types, shapes and contents: not of the file, which holds dates."""
    digest = hashlib.sha256(version.encode() + b";")
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(array.tobytes())
    digest.update(strings if isinstance(strings, bytes) else _dump(strings))
    return digest.hexdigest()


def _dump(strings: Mapping[str, Any]) -> bytes:
    return json.dumps(strings, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
