"""A backup as a tar file: written as a stream, with a digest of each file, and read back."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any, Self

from ddx.adapters.archive import age
from ddx.core.archive import NAME, Entry, Manifest, decode, faults
from ddx.errors import BadBackup, OutputRefused

_CHUNK = 1 << 20


class Archive:
    """A new backup. It has its name once it is whole and on stable storage."""

    def __init__(self, path: Path, recipients: Sequence[Any] = ()) -> None:
        """Begin it beside its name, encrypted to the recipients where there are any.

        Raises OutputRefused.
        """
        self._path, self._draft = path, path.with_name(f".{path.name}.part")
        if path.exists():
            raise OutputRefused(f"{path} is there already")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._file = os.fdopen(os.open(self._draft, flags, 0o600), "wb")
        except OSError as error:
            raise OutputRefused(f"{path} cannot be made: {error.strerror}") from error
        self._plain: Any = age.Encrypted(self._file, recipients) if recipients else self._file
        # Its usual level of 9 takes four times as long for a twentieth less.
        self._packed: Any = self._plain
        if path.name.removesuffix(".age").endswith(".gz"):
            self._packed = gzip.GzipFile("", "wb", 1, self._plain)
        target: Any = self._packed
        self._tar = tarfile.open(fileobj=target, mode="w|")  # noqa: SIM115
        self.files: dict[str, Entry] = {}

    def add(self, name: str, source: Path) -> None:
        """Put a file in, as long as it is now. Raises OutputRefused."""
        try:
            with source.open("rb") as file:
                found = os.fstat(file.fileno())
                info = tarfile.TarInfo(name)
                info.size, info.mtime, info.mode = found.st_size, int(found.st_mtime), 0o600
                hashed = _Hashed(file)
                self._tar.addfile(info, hashed)
        except OSError as error:
            raise OutputRefused(f"{source.name} cannot be put in: {error}") from error
        self.files[name] = Entry(bytes=info.size, sha256=hashed.digest.hexdigest())

    def finish(self, manifest: Manifest) -> Manifest:
        """End it with its manifest; return that. Raises OutputRefused."""
        whole = replace(manifest, files=dict(self.files))
        text = whole.encode()
        info = tarfile.TarInfo(NAME)
        info.size, info.mode = len(text), 0o600
        try:
            self._tar.addfile(info, io.BytesIO(text))
            self._tar.close()
            for wrapped in (self._packed, self._plain):
                if wrapped is not self._file:
                    wrapped.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._draft.rename(self._path)
            _sync(self._path.parent)
        except OSError as error:
            raise OutputRefused(f"{self._path} cannot be written: {error.strerror}") from error
        return whole

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for one in (self._plain, self._file):
            with suppress(OSError):
                one.close()
        self._draft.unlink(missing_ok=True)


def read(path: Path, into: Path | None = None, identity: Path | None = None) -> Manifest:
    """Check every file of a backup against its digest; with `into`, also write them there.

    `identity` is the file with which an encrypted one is read. Raises BadBackup, MissingExtra.
    """
    found: dict[str, Entry] = {}
    text: bytes | None = None
    try:
        with _opened(path, identity) as tar:
            for info in tar:
                content = tar.extractfile(info)
                if content is None or not _is_plain(info.name):
                    raise BadBackup(f"{path} has something in it that no backup has")
                if info.name == NAME:
                    text = content.read()
                    continue
                found[info.name] = _copied(content, into / info.name if into else None)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise BadBackup(f"{path} cannot be read: {type(error).__name__}") from error
    if text is None:
        raise BadBackup(f"{path} has no manifest: it ends too soon, or is no backup")
    try:
        manifest = decode(text)
    except ValueError as error:
        raise BadBackup(f"{path}: {error}") from error
    wrong = faults(manifest, found)
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise BadBackup(f"{path}: {'; '.join(wrong[:3])}{more}")
    return manifest


@contextmanager
def _opened(path: Path, identity: Path | None) -> Iterator[tarfile.TarFile]:
    if not age.is_age(path):
        with tarfile.open(path, mode="r|*") as tar:
            yield tar
    elif identity is None:
        raise BadBackup(f"{path} is encrypted: name the file that opens it with --identity")
    else:
        with (
            age.decrypted(path, age.identities(identity)) as plain,
            tarfile.open(fileobj=plain, mode="r|*") as tar,
        ):
            yield tar


class _Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


def _copied(content: IO[bytes], to: Path | None) -> Entry:
    digest, size = hashlib.sha256(), 0
    target: IO[bytes] = io.BytesIO()
    if to is not None:
        to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    with target:
        while data := content.read(_CHUNK):
            digest.update(data)
            size += len(data)
            if to is not None:
                target.write(data)
        if to is not None:
            target.flush()
            os.fsync(target.fileno())
    return Entry(bytes=size, sha256=digest.hexdigest())


def _is_plain(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
