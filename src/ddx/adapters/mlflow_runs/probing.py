"""Whether an artifact store takes, gives back and removes a file."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import Any

from ddx.adapters.mlflow_runs.library import mlflow, translated
from ddx.errors import DdxError


def trouble(uri: str) -> str | None:
    """Write, read and remove one small file below a store's root; say what went wrong."""
    name, said = f"ddx-doctor-{secrets.token_hex(8)}.txt", "ddx doctor"
    try:
        with translated("the round trip"), tempfile.TemporaryDirectory() as folder:
            repository: Any = mlflow().get_artifact_repository(uri)
            (Path(folder) / name).write_text(said)
            repository.log_artifact(str(Path(folder) / name))
            back = Path(folder) / "back"
            back.mkdir()
            read = Path(repository.download_artifacts(name, str(back))).read_text()
            repository.delete_artifacts(name)
    except DdxError as error:
        return str(error)
    return None if read == said else "it gave back something else"
