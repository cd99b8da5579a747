"""Adds to the ledger: new files, then the manifest that names them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC
from pathlib import Path
from types import ModuleType

from ddx.adapters.parquet_ledger import files
from ddx.adapters.parquet_ledger.files import FOLDER, Manifest
from ddx.core.usage import FeedbackRow, UsageRow
from ddx.errors import LedgerUnavailable, MissingExtra

PIECES = 16
"""Files of a day at which they become one."""
WHOLE = 100_000
"""Rows of a file that is left as it is."""

Rows = Sequence[UsageRow | FeedbackRow]


class ParquetLedger:
    """A Ledger in `ddx_data/ledger`. Who holds the lease of delivery writes it."""

    def __init__(self, data: Path) -> None:
        """Open it, and clean up after a crash. Loads pyarrow.

        Raises MissingExtra, LedgerUnavailable.
        """
        self._table = _table()
        self._folder = data / FOLDER
        with _translated():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._manifest = files.read(self._folder)
            self._sweep()

    def cursor(self, journal_id: str) -> int:
        """Return how far a journal is in."""
        return self._manifest.cursors.get(journal_id, 0)

    def add(
        self,
        journal_id: str,
        cursor: int,
        rows: Sequence[UsageRow],
        feedback: Sequence[FeedbackRow],
    ) -> None:
        """Add rows and move the cursor; see ports.Ledger."""
        name = f"{journal_id[:8]}-{cursor:012d}"
        with _translated():
            new: dict[str, int] = {}
            for kind, of_kind in (("predictions", rows), ("feedback", feedback)):
                for day, of_day in _by_day(of_kind).items():
                    path = f"{kind}/day={day}/{name}.parquet"
                    self._put(path, self._table.table(kind, of_day))
                    new[path] = len(of_day)
            self._commit(
                cursors={**self._manifest.cursors, journal_id: cursor},
                listed={**self._manifest.files, **new},
            )

    def tend(self) -> None:
        """Put a day's files together where there are many; see ports.Ledger."""
        small: dict[str, list[str]] = defaultdict(list)
        for name, rows in self._manifest.files.items():
            if rows < WHOLE:
                small[name.rpartition("/")[0]].append(name)
        with _translated():
            for day, names in small.items():
                if len(names) >= PIECES:
                    self._join(day, sorted(names))

    def forget(self) -> None:
        """Empty it; see ports.Ledger."""
        with _translated():
            old = self._manifest.files
            self._commit(cursors={}, listed={})
            self._delete(old)

    def _join(self, day: str, names: Sequence[str]) -> None:
        kind = day.partition("/")[0]
        rows = self._table.get([self._folder / name for name in names], kind)
        whole = f"{day}/joined-{self._manifest.change + 1:012d}.parquet"
        self._put(whole, rows)
        left = {name: n for name, n in self._manifest.files.items() if name not in set(names)}
        self._commit(cursors=self._manifest.cursors, listed={**left, whole: rows.num_rows})
        self._delete(names)

    def _put(self, name: str, rows: object) -> None:
        """Write a file whole and durably; it belongs to nothing until the manifest names it."""
        path = self._folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_suffix(".writing")
        self._table.put(draft, rows)
        draft.chmod(0o600)
        handle = os.open(draft, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        draft.replace(path)
        files.sync(path.parent)

    def _commit(self, *, cursors: Mapping[str, int], listed: Mapping[str, int]) -> None:
        manifest = Manifest(cursors=cursors, files=listed, change=self._manifest.change + 1)
        files.write(self._folder, manifest)
        self._manifest = manifest

    def _delete(self, names: Sequence[str] | Mapping[str, int]) -> None:
        for name in names:
            with suppress(OSError):
                (self._folder / name).unlink()

    def _sweep(self) -> None:
        """Delete what the manifest does not name: left by a crash between file and manifest."""
        for kind in ("predictions", "feedback"):
            for path in (self._folder / kind).glob("day=*/*"):
                if str(path.relative_to(self._folder)) not in self._manifest.files:
                    path.unlink()


def _table() -> ModuleType:
    try:
        from ddx.adapters.parquet_ledger import table
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "The ledger needs pyarrow and DuckDB: pip install 'ddx-server[analytics]'"
        ) from error
    return table


def _by_day(rows: Rows) -> dict[str, list[UsageRow | FeedbackRow]]:
    found: dict[str, list[UsageRow | FeedbackRow]] = defaultdict(list)
    for row in rows:
        found[row.received_at.astimezone(UTC).date().isoformat()].append(row)
    return found


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LedgerUnavailable(f"the ledger cannot be written: {error.strerror}") from error
