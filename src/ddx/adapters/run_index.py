"""Which runs are archived: a small SQLite file beside the journals."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import apsw

from ddx.core.record import PredictionId
from ddx.core.shelf import Shelved
from ddx.errors import ArchiveDamaged, JournalFull, JournalUnavailable

NAME = "archived.db"
_FORMAT = 1
_SCHEMA = """
create table archived (
    prediction_id text primary key,
    run_id text not null,
    artifact_uri text not null,
    file text not null,
    said integer not null,
    figures text not null
) strict, without rowid
"""
_AT_ONCE = 500


class RunIndex:
    """An Index. Opened for each use: archives are rare, and readers many."""

    def __init__(self, data: Path) -> None:
        self._path = data / NAME

    def add(self, entries: Sequence[Shelved]) -> None:
        """Keep these, in place of what was known of them."""
        with self._writing() as db:
            db.executemany(
                "insert or replace into archived values (?, ?, ?, ?, ?, ?)",
                [
                    (
                        one.prediction_id,
                        one.run_id,
                        one.artifact_uri,
                        one.file,
                        one.said,
                        json.dumps(dict(one.figures)),
                    )
                    for one in entries
                ],
            )

    def find(self, ids: Collection[PredictionId]) -> Mapping[PredictionId, Shelved]:
        """Return those that are archived."""
        found, rest = {}, iter(ids)
        with self._reading() as db:
            while db is not None and (some := list(islice(rest, _AT_ONCE))):
                marks = ", ".join("?" for _ in some)
                query = f"select * from archived where prediction_id in ({marks})"  # noqa: S608
                for row in db.execute(query, some):
                    found[PredictionId(row[0])] = Shelved(
                        prediction_id=PredictionId(row[0]),
                        run_id=row[1],
                        artifact_uri=row[2],
                        file=row[3],
                        said=row[4],
                        figures=json.loads(row[5]),
                    )
        return found

    def all_ids(self) -> Sequence[PredictionId]:
        """Return all, in order."""
        with self._reading() as db:
            if db is None:
                return []
            rows = db.execute("select prediction_id from archived order by prediction_id")
            return [PredictionId(id) for (id,) in rows]

    def drop(self, ids: Collection[PredictionId]) -> None:
        """Forget these: they are back."""
        if ids:
            with self._writing() as db:
                marks = [(id,) for id in ids]
                db.executemany("delete from archived where prediction_id = ?", marks)

    def without_files(self, id: PredictionId) -> None:
        """Note that the files of a run are deleted for good."""
        with self._writing() as db:
            db.execute("update archived set artifact_uri = '' where prediction_id = ?", (id,))

    @contextmanager
    def _writing(self) -> Iterator[apsw.Connection]:
        # SQLite would create it with the umask's mode.
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        with self._opened() as db:
            # The log of WAL mode would have to be copied with it.
            db.execute("pragma journal_mode = delete")
            db.execute("pragma synchronous = full")
            db.execute("begin immediate")
            if db.execute("pragma user_version").get != _FORMAT:
                db.execute(_SCHEMA)
                db.execute(f"pragma user_version = {_FORMAT}")
            yield db
            db.execute("commit")

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection | None]:
        if not self._path.exists():
            yield None
            return
        with self._opened() as db:
            # It may be older than its table, where its maker was killed at birth.
            yield db if db.execute("pragma user_version").get == _FORMAT else None

    @contextmanager
    def _opened(self) -> Iterator[apsw.Connection]:
        try:
            db = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                db.set_busy_timeout(5_000)
                yield db
            finally:
                db.close()
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise ArchiveDamaged(f"{NAME} is damaged") from error
        except apsw.FullError as error:
            raise JournalFull(f"the disk has no room for {NAME}") from error
        except apsw.Error as error:
            raise JournalUnavailable(f"{NAME}: {type(error).__name__}") from error
