"""The archive's files: in a folder by our own hand, elsewhere through MLflow's repositories."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ddx.adapters.mlflow_runs.files import local_path
from ddx.adapters.mlflow_runs.library import repository, translated
from ddx.errors import TrackerUnavailable


class ShelfFiles:
    """A Shelf at a folder, or at an object store's address."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._folder = local_path(uri)

    def write(self, name: str, lines: Sequence[str]) -> None:
        """Return once it would survive a power cut. Raises TrackerUnavailable."""
        content = "".join(f"{line}\n" for line in lines).encode()
        if self._folder is not None:
            try:
                _write(self._folder, name, content)
            except OSError as error:
                raise TrackerUnavailable(f"writing the archive: {error.strerror}") from error
            return
        with translated("writing the archive"), tempfile.TemporaryDirectory() as folder:
            (Path(folder) / name).write_bytes(content)
            repository(self._uri).log_artifact(f"{folder}/{name}")

    def read(self, name: str) -> Sequence[str]:
        """Return its lines. Raises TrackerUnavailable, also where it is not there."""
        if self._folder is not None:
            try:
                return (self._folder / name).read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                kind = type(error).__name__
                raise TrackerUnavailable(f"reading the archive's {name}: {kind}") from error
        with translated("reading the archive"), tempfile.TemporaryDirectory() as folder:
            repository(self._uri).download_artifacts(name, folder)
            return (Path(folder) / name).read_text(encoding="utf-8").splitlines()


def _write(folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = folder / f".{name}.part"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / name)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
