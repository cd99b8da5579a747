"""Old runs out of MLflow's tables into an archive, and back.

Written, read back and noted before anything is deleted; what changed meanwhile stays. Whatever dies
in between, a run is in MLflow, or in the archive and noted, or both: then MLflow's counts, and the
next time takes it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from ddx.core import ids as prediction_ids
from ddx.core import shelf
from ddx.core.chain import Kind
from ddx.core.record import PredictionId
from ddx.core.shelf import RunRows, Shelved
from ddx.errors import ArchiveDamaged, Erased, JournalDamaged
from ddx.ports import JournalReader

BATCH = 500
_WINDOW = 1000
Moment = Callable[[str], None]


class Sealer(JournalReader, Protocol):
    """A journal that seals what is kept beside it under a record's key."""

    def seal_beside(self, id: PredictionId, text: str) -> bytes:
        """Return it sealed. Raises Erased where the key is destroyed."""

    def unseal_beside(self, id: PredictionId, sealed: bytes) -> str:
        """Return what was sealed. Raises Erased, JournalDamaged where it was changed."""

    def newest(
        self, before: PredictionId | None, since: PredictionId | None, limit: int
    ) -> Sequence[PredictionId]:
        """Return ids, the newest first; see ports.Journal."""


class Shelf(Protocol):
    """The archive's files. None ever changes under its name."""

    def write(self, name: str, lines: Sequence[str]) -> None:
        """Return once it would survive a power cut. Raises TrackerUnavailable."""

    def read(self, name: str) -> Sequence[str]:
        """Return its lines. Raises TrackerUnavailable, also where it is not there."""


class Index(Protocol):
    """Which runs are archived, and where. Writes are durable when they return."""

    def add(self, entries: Sequence[Shelved]) -> None:
        """Keep these, in place of what was known of them."""

    def find(self, ids: Collection[PredictionId]) -> Mapping[PredictionId, Shelved]:
        """Return those that are archived."""

    def all_ids(self) -> Sequence[PredictionId]:
        """Return all, in order."""

    def drop(self, ids: Collection[PredictionId]) -> None:
        """Forget these: they are back."""


class RunStore(Protocol):
    """MLflow's runs as they stand. Raises TrackerUnavailable, DeliveryRefused."""

    def rows(self, ids: Sequence[PredictionId]) -> Mapping[PredictionId, RunRows]:
        """Return the runs of predictions that have exactly one, whole and active."""

    def remove(self, runs: Sequence[RunRows]) -> Collection[PredictionId]:
        """Take these out, but for those that are not as they were; return which went."""

    def put_back(self, raws: Sequence[str]) -> None:
        """Make runs as they were; what is there already stays. Repeatable."""


@dataclass(slots=True, kw_only=True)
class Done:
    """What an archiving did, or would do."""

    archived: int = 0
    changed: int = 0
    """Left, as somebody changed them meanwhile."""
    erased: int = 0
    """Left: their key is destroyed, so nothing can be sealed; a stone is small."""
    files: list[str] = field(default_factory=list)


class Archiver:
    """Archives, and brings back."""

    def __init__(
        self,
        *,
        journals: Sequence[Sealer],
        runs: RunStore,
        shelf: Shelf,
        index: Index,
        at: Moment = lambda name: None,  # noqa: ARG005
    ) -> None:
        """`at` is called at the moments `written`, `verified`, `noted` and `removed`."""
        self._journals = journals
        self._runs = runs
        self._shelf = shelf
        self._index = index
        self._at = at

    def archive(
        self,
        before: datetime,
        cursors: Mapping[str, int],
        aside: Collection[PredictionId],
        *,
        dry_run: bool,
        progress: Callable[[int], None] = lambda passed: None,  # noqa: ARG005
    ) -> Done:
        """Archive what was received before a time and is delivered; return what was done.

        `cursors` is how far each journal is delivered; what is `aside` is under way or refused.
        """
        done = Done()
        for journal in self._journals:
            cursor = cursors.get(journal.journal_id, 0)
            for ids in _old(journal, before, cursor):
                ours = [one for one in ids if one not in aside]
                self._batch(journal, ours, done, dry_run=dry_run)
                progress(len(ids))
        return done

    def restore(self, ids: Collection[PredictionId] | None = None) -> int:
        """Bring archived runs back as they were, all of them where none is named; return how many.

        Raises ArchiveDamaged before anything is put back of a file that was changed.
        """
        wanted = self._index.all_ids() if ids is None else sorted(ids)
        back = 0
        for start in range(0, len(wanted), BATCH):
            part = self._index.find(wanted[start : start + BATCH])
            raws = {id: raw for id, raw in self.opened(part).items() if raw is not None}
            self._runs.put_back(list(raws.values()))
            self._at("put back")
            self._index.drop(raws)
            back += len(raws)
        return back

    def opened(self, entries: Mapping[PredictionId, Shelved]) -> dict[PredictionId, str | None]:
        """Return the rows of archived runs; None where the record is erased.

        Raises ArchiveDamaged.
        """
        found: dict[PredictionId, str | None] = {}
        for file in sorted({one.file for one in entries.values()}):
            try:
                sealed = shelf.sealed_of(self._shelf.read(file))
            except (ValueError, KeyError, TypeError):
                raise ArchiveDamaged(f"{file} is not one of the archive's files") from None
            for id, entry in entries.items():
                if entry.file == file:
                    if id not in sealed:
                        raise ArchiveDamaged(f"{file} does not hold {id}")
                    found[id] = self._open(id, *sealed[id])
        return found

    def _open(self, id: PredictionId, digest: str, sealed: bytes) -> str | None:
        journal = self._journal_of(id)
        try:
            raw = journal.unseal_beside(id, sealed)
        except Erased:
            return None
        except JournalDamaged:
            raise ArchiveDamaged(f"the archived run of {id} was changed") from None
        if shelf.digest_of(raw) != digest:
            raise ArchiveDamaged(f"the archived run of {id} has another digest")
        return raw

    def _journal_of(self, id: PredictionId) -> Sealer:
        for journal in self._journals:
            # Not below it, and below the next one that could be: it, or nothing.
            if journal.newest(PredictionId(f"{id}-"), id, 1):
                return journal
        raise ArchiveDamaged(f"no journal here holds {id}, whose run is archived")

    def _batch(
        self, journal: Sealer, ids: Sequence[PredictionId], done: Done, *, dry_run: bool
    ) -> None:
        runs = self._runs.rows(ids)
        sealed: dict[PredictionId, bytes] = {}
        said: dict[PredictionId, int] = {}
        for id, one in runs.items():
            try:
                said[id] = len(journal.feedback_of(id))
                sealed[id] = journal.seal_beside(id, one.raw)
            except Erased:
                done.erased += 1
        if not sealed:
            return
        if dry_run:
            done.archived += len(sealed)
            return
        lines = [shelf.line(runs[id], sealed[id]) for id in sorted(sealed)]
        name = shelf.file_name(lines, min(sealed))
        self._shelf.write(name, lines)
        self._at("written")
        entries = {id: shelf.shelved(runs[id], name, said[id]) for id in sorted(sealed)}
        for id, raw in self.opened(entries).items():
            if raw is not None and raw != runs[id].raw:
                raise ArchiveDamaged(f"{name} reads back otherwise than it was written")
        self._at("verified")
        self._index.add(list(entries.values()))
        self._at("noted")
        gone = self._runs.remove([runs[id] for id in sorted(sealed)])
        self._at("removed")
        self._index.drop(sealed.keys() - set(gone))
        done.archived += len(gone)
        done.changed += len(sealed) - len(gone)
        done.files.append(name)


def _old(journal: JournalReader, before: datetime, cursor: int) -> Iterator[Sequence[PredictionId]]:
    """Yield what is finished, delivered and old enough, in batches."""
    after = 0
    while events := journal.events(after, _WINDOW):
        after = events[-1].seq
        ids = [
            one.prediction_id
            for one in events
            if one.kind is Kind.FINISHED
            and one.seq <= cursor
            and prediction_ids.made_at(one.prediction_id) < before
        ]
        if ids:
            yield ids
        if after >= cursor:
            return
