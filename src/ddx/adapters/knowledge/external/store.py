"""Where added knowledge lies: one folder for each set of files, and the name of the one in force.

```text
ddx_data/knowledge/
  current              the digest in force; replaced in one step
  <digest>/            the files, and manifest.json; never changed once it has its name
```
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ddx.adapters.knowledge.external.check import check
from ddx.adapters.knowledge.external.kinds import KINDS
from ddx.errors import BadKnowledge, KnowledgeInUse

_CURRENT, _LOCK, _MANIFEST = "current", ".lock", "manifest.json"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file of a shelf."""

    name: str
    source: str
    licence: str
    version: str | None
    """The release, where it is known."""
    sha256: str
    size_bytes: int
    counts: Mapping[str, int]
    added_at: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """A set of files that is in force together."""

    digest: str
    """SHA-256 over the names and digests of the files, 64 hex digits."""
    folder: Path
    items: tuple[Item, ...]

    @property
    def files(self) -> dict[str, Path]:
        """Name -> where it is."""
        return {item.name: self.folder / item.name for item in self.items}

    @property
    def digests(self) -> dict[str, str]:
        """Name -> SHA-256."""
        return {item.name: item.sha256 for item in self.items}


class KnowledgeStore:
    """Added knowledge of one installation. A reader never sees half of a change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def token(self) -> str | None:
        """Return the digest in force, None where nothing was added. One small read."""
        try:
            found = (self._folder / _CURRENT).read_text(encoding="ascii").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except UnicodeDecodeError:
            found = ""
        if not _DIGEST.fullmatch(found):
            raise BadKnowledge(f"{self._folder / _CURRENT} does not name a set of files.")
        return found

    def current(self) -> Shelf | None:
        """Return what is in force. Raises BadKnowledge where it does not read."""
        token = self.token()
        return None if token is None else self._shelf(token)

    def add(
        self,
        folder: Path,
        versions: Mapping[str, str] | None = None,
        ready: Callable[[Shelf], object] = lambda shelf: None,  # noqa: ARG005
    ) -> Shelf:
        """Check the known files of a folder and put them in force, beside those already there.

        A file replaces the one of the same name. `versions`: releases that files do not name
        themselves. `ready` is called with the new set before it is in force, and keeps it out
        of force by raising. Raises BadKnowledge, KnowledgeInUse; then nothing has changed.
        """
        if not folder.is_dir():
            raise BadKnowledge(f"{folder} is not a folder.")
        found = {name: folder / name for name in KINDS if (folder / name).is_file()}
        if not found:
            raise BadKnowledge(f"{folder} holds none of the files {', '.join(KINDS)}.")
        with self._alone():
            before = self.current()
            with self._draft() as draft:
                items = [_taken(path, draft, versions or {}) for path in found.values()]
                kept = () if before is None else _kept(before, set(found), draft)
                return self._publish(draft, [*kept, *items], ready)

    def remove(
        self,
        names: Iterable[str] = (),
        ready: Callable[[Shelf], object] = lambda shelf: None,  # noqa: ARG005
    ) -> Shelf | None:
        """Take these files out of force, or all; return what is left.

        Raises BadKnowledge where one is not there, KnowledgeInUse.
        """
        with self._alone():
            before = self.current()
            if before is None:
                raise BadKnowledge("No knowledge was added: there is nothing to remove.")
            gone = set(names) or set(before.files)
            if unknown := sorted(gone - set(before.files)):
                raise BadKnowledge(f"{unknown[0]} is not among the added files.")
            if gone != set(before.files):
                with self._draft() as draft:
                    return self._publish(draft, _kept(before, gone, draft), ready)
            (self._folder / _CURRENT).unlink()
            _sync(self._folder)
            self._sweep(keep={before.digest})
            return None

    # --- the steps ----------------------------------------------------------------------

    def _shelf(self, digest: str) -> Shelf:
        folder = self._folder / digest
        try:
            manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
            items = tuple(Item(**item) for item in manifest["files"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BadKnowledge(
                f"{folder} does not read as it was written: {type(error).__name__}."
            ) from error
        if _digest(items) != digest or any(item.name not in KINDS for item in items):
            raise BadKnowledge(f"{folder} is not what its name says.")
        return Shelf(digest=digest, folder=folder, items=items)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise KnowledgeInUse from None
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _draft(self) -> Iterator[Path]:
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self._folder))
        try:
            yield draft
        finally:
            if draft.exists():
                shutil.rmtree(draft)

    def _publish(
        self, draft: Path, items: Iterable[Item], ready: Callable[[Shelf], object]
    ) -> Shelf:
        """Give a finished folder its name, then put it in force."""
        ordered = tuple(sorted(items, key=lambda item: item.name))
        digest = _digest(ordered)
        manifest = {"format": _FORMAT, "files": [asdict(item) for item in ordered]}
        (draft / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        for path in draft.iterdir():
            path.chmod(0o600)
            _sync(path)
        _sync(draft)
        final = self._folder / digest
        if final.exists():
            # The same files, perhaps damaged since: what was just checked takes their place.
            final.rename(self._folder / f".old-{os.getpid()}")
        draft.rename(final)
        _sync(self._folder)
        shelf = Shelf(digest=digest, folder=final, items=ordered)
        before = None
        with suppress(BadKnowledge):
            before = self.token()
        try:
            ready(shelf)
        except BaseException:
            if digest != before:
                shutil.rmtree(final, ignore_errors=True)
            raise
        pointer = self._folder / f".{_CURRENT}-{os.getpid()}"
        pointer.write_text(digest + "\n", encoding="ascii")
        pointer.chmod(0o600)
        _sync(pointer)
        pointer.replace(self._folder / _CURRENT)
        _sync(self._folder)
        # A server may still be reading the one before.
        self._sweep(keep={digest, before or digest})
        return shelf

    def _sweep(self, keep: set[str]) -> None:
        for path in self._folder.iterdir():
            if path.is_dir() and path.name not in keep:
                shutil.rmtree(path, ignore_errors=True)


def _taken(path: Path, draft: Path, versions: Mapping[str, str]) -> Item:
    """Copy a file, and check the copy: the original may change meanwhile."""
    copy = draft / path.name
    try:
        shutil.copyfile(path, copy)
    except OSError as error:
        raise BadKnowledge(f"{path} cannot be read: {error.strerror}.") from error
    found, kind = check(copy), KINDS[path.name]
    with copy.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Item(
        name=path.name,
        source=kind.source,
        licence=kind.licence,
        version=found.version or versions.get(path.name),
        sha256=sha256,
        size_bytes=copy.stat().st_size,
        counts=found.counts,
        added_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _kept(shelf: Shelf, gone: set[str], draft: Path) -> tuple[Item, ...]:
    kept = tuple(item for item in shelf.items if item.name not in gone)
    for item in kept:
        shutil.copyfile(shelf.folder / item.name, draft / item.name)
    return kept


def _digest(items: Iterable[Item]) -> str:
    named = sorted((item.name, item.sha256) for item in items)
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
