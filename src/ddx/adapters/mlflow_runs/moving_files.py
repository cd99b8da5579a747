"""The files of all runs from one artifact store into another, each compared by its digest."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddx.adapters.mlflow_runs.database import Database
from ddx.adapters.mlflow_runs.files import local_path
from ddx.adapters.mlflow_runs.library import mlflow, translated
from ddx.core.run_draft import EXPERIMENT
from ddx.errors import MoveRefused

_THREADS = 8
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)
"""Where MLflow's tables say where files are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedFiles:
    """What a move of files did."""

    old: str
    new: str
    files: int
    size_bytes: int


def root_in_use(db_uri: str) -> str | None:
    """Return the folder above all experiments, as the database says; None before the first.

    Raises TrackerUnavailable.
    """
    # In SQL, not by MLflow's tables: `ddx up` asks this, and loading MLflow takes seconds.
    query = f"select experiment_id, artifact_location from experiments where name = '{EXPERIMENT}'"  # noqa: S608  (a constant)
    with closing(Database(db_uri)) as database, database.reading() as connection:
        row = connection.exec_driver_sql(query).fetchone()
    if row is None:
        return None
    root, _, last = str(row[1]).rstrip("/").rpartition("/")
    return root if last == str(row[0]) else str(row[1])


def move_files(db_uri: str, new: str, state: Path, say: Callable[[str], None]) -> MovedFiles:
    """Copy the files of every experiment below the present root to `new`; then let MLflow's
    tables name them there, in one transaction. The old files stay.

    Goes on after a cut by `state`. Raises MoveRefused, TrackerUnavailable, MissingExtra.
    """
    old = root_in_use(db_uri)
    if old is None or bare(old) == bare(new):
        return MovedFiles(old=old or new, new=new, files=0, size_bytes=0)
    done: dict[str, list[int]] = json.loads(state.read_text()) if state.exists() else {}
    names = [name for name in _folders(old) if name not in done]
    with ThreadPoolExecutor(_THREADS) as pool:
        for number, (name, counted) in enumerate(pool.map(_mover(old, new), names), 1):
            done[name] = counted
            if number % 100 == 0:
                _keep(state, done)
                say(f"{len(done)} of {len(done) + len(names) - number} folders of files")
    _keep(state, done)
    _rename(db_uri, old, new)
    state.unlink(missing_ok=True)
    return MovedFiles(
        old=old,
        new=new,
        files=sum(one[0] for one in done.values()),
        size_bytes=sum(one[1] for one in done.values()),
    )


def _keep(state: Path, done: dict[str, list[int]]) -> None:
    beside = state.with_suffix(".new")
    beside.write_text(json.dumps(done), encoding="utf-8")
    beside.replace(state)


def _folders(root: str) -> list[str]:
    """Return `experiment/run` of everything below a root."""
    with translated("listing artifacts"):
        repository: Any = mlflow().get_artifact_repository(root)
        found: list[str] = []
        for experiment in repository.list_artifacts():
            below = repository.list_artifacts(experiment.path) if experiment.is_dir else []
            found += [one.path for one in below]
        return found


def _mover(old: str, new: str) -> Callable[[str], tuple[str, list[int]]]:
    def moved(name: str) -> tuple[str, list[int]]:
        with translated("moving artifacts"), tempfile.TemporaryDirectory() as folder:
            source = _brought(old, name, Path(folder) / "old")
            digests = dict(_digests(source))
            target: Any = mlflow().get_artifact_repository(f"{new}/{name}")
            target.log_artifacts(str(source))
            back = Path(folder) / "new"
            back.mkdir()
            if dict(_digests(Path(target.download_artifacts("", str(back))))) != digests:
                raise MoveRefused(f"{name} differs after the move.")
            return name, [len(digests), sum(one.stat().st_size for one in _files(source))]

    return moved


def _brought(root: str, name: str, to: Path) -> Path:
    """Return a local folder with the files of a run."""
    here = local_path(root)
    if here is not None:
        return here / name
    to.mkdir()
    repository: Any = mlflow().get_artifact_repository(f"{root}/{name}")
    return Path(repository.download_artifacts("", str(to)))


def _files(folder: Path) -> list[Path]:
    return [one for one in sorted(folder.rglob("*")) if one.is_file()]


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    for one in _files(folder):
        with one.open("rb") as file:
            yield str(one.relative_to(folder)), hashlib.file_digest(file, "sha256").hexdigest()


def _rename(db_uri: str, old: str, new: str) -> None:
    """Let every address below `old` be below `new`."""
    from sqlalchemy import MetaData, Table, func, literal

    with closing(Database(db_uri)) as database, database.writing() as connection:
        for name, column_name in _COLUMNS:
            table = Table(name, MetaData(), autoload_with=connection)
            column = table.c[column_name]
            for before in dict.fromkeys((old, bare(old), f"file://{bare(old)}")):
                cut = func.substr(column, len(before) + 1)
                is_below = func.substr(column, 1, len(before) + 1) == f"{before}/"
                connection.execute(
                    table.update().where(is_below).values({column_name: literal(new).concat(cut)})
                )


def bare(root: str) -> str:
    """Return a root in the one form in which two of them can be compared."""
    here = local_path(root)
    return str(here) if here is not None else root.rstrip("/")
