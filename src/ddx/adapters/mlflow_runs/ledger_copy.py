"""The ledger's files in an artifact store, for those who analyse it elsewhere.

Through MLflow's artifact repositories, so that `s3://`, `gs://`, `wasbs://` and folders are one.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

from ddx.adapters.mlflow_runs.library import mlflow, translated

_KINDS = ("predictions", "feedback")


def there(uri: str) -> set[str]:
    """Return the files of the copy, relative to it. Raises TrackerUnavailable, MissingExtra."""
    with translated("listing the ledger's copy"):
        repository = mlflow().get_artifact_repository(uri)
        days = [day.path for kind in _KINDS for day in repository.list_artifacts(kind)]
        return {file.path for day in days for file in repository.list_artifacts(day)}


def bring(folder: Path, uri: str, names: Collection[str], known: Collection[str]) -> None:
    """Make the copy hold these files: what is new is added, then what is no more is removed.

    `folder` is the ledger's, `known` is what the copy holds. A file never changes under its name.
    Raises TrackerUnavailable, MissingExtra, and FileNotFoundError where a file was put together
    with others meanwhile.
    """
    with translated("copying the ledger"):
        repository: Any = mlflow().get_artifact_repository(uri)
        for name in sorted(set(names) - set(known)):
            (folder / name).stat()
            repository.log_artifact(str(folder / name), str(PurePosixPath(name).parent))
        for name in sorted(set(known) - set(names)):
            repository.delete_artifacts(name)
