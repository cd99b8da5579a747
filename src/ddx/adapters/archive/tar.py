"""A backup as a tar file: written as a stream, with a digest of each file, and read back."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any, Self

from ddx.adapters.archive import age
from ddx.adapters.archive.places import Place
from ddx.core.archive import NAME, Entry, Manifest, Sealed, decode, faults
from ddx.errors import BadBackup, OutputRefused

_CHUNK = 1 << 20


class Archive:
    """A new backup. It has its name once it is whole and on stable storage."""

    def __init__(
        self,
        to: Place,
        recipients: Sequence[Any] = (),
        before: Mapping[str, Entry] | None = None,
    ) -> None:
        """Begin it, encrypted to the recipients where there are any; what is as it was `before`
        is left out. Raises OutputRefused.
        """
        self._place, self._before = to, before or {}
        try:
            if to.size() is not None:
                raise OutputRefused(f"{to.said} is there already")
            self._draft = to.draft()
        except OSError as error:
            raise OutputRefused(f"{to.said} cannot be made: {error.strerror}") from error
        self._plain: Any = age.Encrypted(self._draft, recipients) if recipients else self._draft
        # Its usual level of 9 takes four times as long for a twentieth less.
        self._packed: Any = self._plain
        if to.name.removesuffix(".age").endswith(".gz"):
            self._packed = gzip.GzipFile("", "wb", 1, self._plain)
        self._sink = _Sink(self._packed)
        target: Any = self._sink
        self._tar = tarfile.open(fileobj=target, mode="w|", bufsize=_CHUNK)  # noqa: SIM115
        self._tar.copybufsize = _CHUNK  # type: ignore[attr-defined]
        self.files: dict[str, Entry] = {}
        self.kept: dict[str, Entry] = {}

    def add(self, name: str, source: Path) -> None:
        """Put a file in, as long as it is now, unless it is as it was. Raises OutputRefused."""
        try:
            with source.open("rb") as file:
                found = os.fstat(file.fileno())
                earlier = self._before.get(name)
                if earlier is not None and earlier.bytes == found.st_size:
                    if hashlib.file_digest(file, "sha256").hexdigest() == earlier.sha256:
                        self.kept[name] = earlier
                        return
                    file.seek(0)
                info = tarfile.TarInfo(name)
                info.size, info.mtime, info.mode = found.st_size, int(found.st_mtime), 0o600
                hashed = _Hashed(file)
                self._tar.addfile(info, hashed)
        except OSError as error:
            raise OutputRefused(f"{source.name} cannot be put in: {error}") from error
        self.files[name] = Entry(bytes=info.size, sha256=hashed.digest.hexdigest())

    def finish(self, manifest: Manifest) -> Sealed:
        """End it with its manifest; return that. Raises OutputRefused."""
        whole = replace(
            manifest, name=self._place.name, files=dict(self.files), kept=dict(self.kept)
        )
        text = whole.encode()
        info = tarfile.TarInfo(NAME)
        info.size, info.mode = len(text), 0o600
        try:
            self._tar.addfile(info, io.BytesIO(text))
            self._tar.close()
            for wrapped in (self._packed, self._plain):
                if wrapped is not self._draft:
                    wrapped.close()
            self._draft.keep()
        except OSError as error:
            raise OutputRefused(
                f"{self._place.said} cannot be written: {error.strerror}"
            ) from error
        return decode(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._sink.target = None
        if self._plain is not self._draft:
            # Its thread writes into the draft until it has ended.
            with suppress(OSError):
                self._plain.close()
        self._draft.drop()


def read(source: Place, into: Path | None = None, identity: Path | None = None) -> Sealed:
    """Check every file of a backup against its digest; with `into`, also write them there.

    `identity` is the file with which an encrypted one is read. Raises BadBackup, MissingExtra.
    """
    found: dict[str, Entry] = {}
    try:
        with _opened(source, identity) as tar:
            sealed = _manifest(tar, into, found)
    except (tarfile.TarError, EOFError) as error:
        raise BadBackup(f"{source.said} cannot be read: {type(error).__name__}") from error
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise BadBackup(f"{source.said} cannot be read: {why}") from error
    except (BadBackup, ValueError) as error:
        raise BadBackup(f"{source.said}: {error}") from error
    wrong = faults(sealed.manifest, found)
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise BadBackup(f"{source.said}: {'; '.join(wrong[:3])}{more}")
    return sealed


def _manifest(tar: tarfile.TarFile, into: Path | None, found: dict[str, Entry]) -> Sealed:
    """Return it, after all files, which are `found`. Raises BadBackup, ValueError."""
    text: bytes | None = None
    for info in tar:
        content = tar.extractfile(info)
        if content is None or not _is_plain(info.name):
            raise BadBackup("it has something in it that no backup has")
        if info.name == NAME:
            text = content.read()
        else:
            found[info.name] = _copied(content, into / info.name if into else None)
    if text is None:
        raise BadBackup("it has no manifest: it ends too soon, or is no backup")
    return decode(text)


@contextmanager
def _opened(source: Place, identity: Path | None) -> Iterator[tarfile.TarFile]:
    with source.read() as file:
        stream = _Begun(file, file.read(len(age.HEADER)))
        if stream.beginning != age.HEADER:
            with _tar(stream) as tar:
                yield tar
        elif identity is None:
            raise BadBackup("it is encrypted: name the file that opens it with --identity")
        else:
            with age.decrypted(stream, age.identities(identity)) as plain, _tar(plain) as tar:
                yield tar


def _tar(stream: Any) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="r|*", bufsize=_CHUNK)


class _Sink:
    """What a tar file is written to, until it is left: it would end itself when it is deleted."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def write(self, data: bytes) -> int:
        return int(self.target.write(data)) if self.target is not None else len(data)


class _Begun:
    """A stream of which the beginning has been looked at."""

    def __init__(self, file: IO[bytes], beginning: bytes) -> None:
        self._file, self.beginning, self._left = file, beginning, beginning

    def read(self, size: int = -1) -> bytes:
        if not self._left:
            return self._file.read(size)
        some, self._left = self._left, b""
        if 0 <= size < len(some):
            some, self._left = some[:size], some[size:]
            return some
        return some + self._file.read(size - len(some) if size >= 0 else -1)


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


def read_manifest(source: Place, identity: Path | None = None) -> Sealed:
    """Return the manifest of a backup, or of a file that is one alone. Raises BadBackup."""
    try:
        with source.read() as file:
            beginning = file.read(1)
            text = beginning + file.read() if beginning == b"{" else None
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise BadBackup(f"{source.said} cannot be read: {why}") from error
    if text is None:
        return read(source, identity=identity)
    try:
        return decode(text)
    except ValueError as error:
        raise BadBackup(f"{source.said}: {error}") from error
