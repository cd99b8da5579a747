"""Compare the journals with themselves, with MLflow and with kept checkpoints. Only looks."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from ddx.core.chain import Checkpoint, Kind, Walk
from ddx.core.compare import Difference, Fault, differences
from ddx.core.feedback import Feedback
from ddx.core.known_ids import KnownIds
from ddx.core.record import Prediction, PredictionId
from ddx.core.run_draft import RunDraft, draft
from ddx.errors import ArchiveDamaged, DdxError, Erased, JournalDamaged, PredictionNotFound
from ddx.ports import JournalReader, Runs

WINDOW = 500
"""Events held in memory at a time."""


@dataclass(slots=True, kw_only=True)
class Report:
    """What a verification saw."""

    events: int = 0
    predictions: int = 0
    """Finished ones, each of which must have one run."""
    running: int = 0
    """Accepted and not finished: their server is still at work, or will close them."""
    erased: int = 0
    archived: int = 0
    """Finished ones whose run is in the archive, and is compared there."""
    elsewhere: int = 0
    """Runs whose record is in a journal of another machine, and is compared there."""
    ids: set[PredictionId] = field(default_factory=set)
    """Of all records, finished or not, erased or not."""
    differences: list[Difference] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


class Archived(Protocol):
    """Runs that were taken out of MLflow's tables."""

    def find(self, ids: Collection[PredictionId]) -> Collection[PredictionId]:
        """Return those that are archived."""

    def read(self, ids: Collection[PredictionId]) -> Iterator[RunDraft]:
        """Return archived runs with their files. Raises ArchiveDamaged, TrackerUnavailable."""


class Verifier:
    """Verifies journals, and MLflow against them where a door is given."""

    def __init__(
        self,
        journals: Sequence[JournalReader],
        runs: Runs | None,
        archived: Archived | None = None,
        others: Sequence[KnownIds] | None = (),
    ) -> None:
        """`others`: what the other machines of the deployment said that they hold; None where
        there are some and they were not asked.
        """
        self._journals = journals
        self._runs = runs
        self._archived = archived
        self._others = others

    def verify(self, checkpoints: Sequence[Checkpoint] = ()) -> Report:
        """Walk every chain, read every record, compare every run.

        Raises TrackerUnavailable where MLflow cannot be asked.
        """
        report = Report()
        for journal in self._journals:
            kept = [c for c in checkpoints if c.journal_id == journal.journal_id]
            self._walk(journal, kept, report)
            report.ids |= self._compare(journal, report)
        ours = {journal.journal_id for journal in self._journals}
        report.differences += [
            Difference(
                fault=Fault.CHECKPOINT,
                where=f"checkpoint of {c.instance}, event {c.seq}",
                what="no journal here has this identity",
            )
            for c in checkpoints
            if c.journal_id not in ours
        ]
        if self._runs is not None:
            self._sort_out(self._runs, report)
        return report

    def _sort_out(self, runs: Runs, report: Report) -> None:
        """Find the runs that have no record here: another machine's, or a difference."""
        for id in runs.all_ids():
            if id in report.ids:
                continue
            if self._others is None or any(other.may_hold(id) for other in self._others):
                report.elsewhere += 1
            else:
                report.differences.append(Difference(fault=Fault.UNKNOWN, where=id))

    # --- the chain ----------------------------------------------------------------------

    def _walk(
        self, journal: JournalReader, checkpoints: Sequence[Checkpoint], report: Report
    ) -> None:
        walk = Walk(journal.journal_id)
        wanted = {c.seq: c for c in checkpoints}
        while events := journal.chained(walk.seq, WINDOW):
            for event in events:
                fault = walk.step(event)
                where = f"journal {journal.instance}, event {event.header.seq}"
                if fault is not None:
                    report.differences.append(
                        Difference(fault=Fault.CHAIN, where=where, what=fault.why)
                    )
                checkpoint = wanted.pop(event.header.seq, None)
                if checkpoint is not None and checkpoint.link != event.link.hex():
                    what = "the chain up to here is not the one that was signed"
                    report.differences.append(Difference(fault=Fault.CHAIN, where=where, what=what))
            report.events += len(events)
        for seq in wanted:
            report.differences.append(
                Difference(
                    fault=Fault.TAIL,
                    where=f"journal {journal.instance}, event {seq}",
                    what=f"signed, but the journal ends at {walk.seq}",
                )
            )

    # --- the runs -----------------------------------------------------------------------

    def _compare(self, journal: JournalReader, report: Report) -> set[PredictionId]:
        """Compare each finished prediction with its run; return all ids of the journal."""
        accepted: set[PredictionId] = set()
        finished: set[PredictionId] = set()
        after = 0
        while events := journal.events(after, WINDOW):
            after = events[-1].seq
            accepted |= {e.prediction_id for e in events if e.kind is Kind.ACCEPTED}
            now = [e.prediction_id for e in events if e.kind is Kind.FINISHED]
            finished |= set(now)
            records = list(self._read(journal, now, report))
            report.predictions += len(records)
            said = {e.prediction_id for e in events if e.kind is Kind.FEEDBACK}
            _read_feedback(journal, said, report)
            if self._runs is not None:
                report.differences += self._against_runs(journal, self._runs, records, report)
        report.running += len(accepted - finished)
        return accepted | finished

    def _read(
        self, journal: JournalReader, ids: Sequence[PredictionId], report: Report
    ) -> Iterator[Prediction]:
        for id in ids:
            try:
                found = journal.predictions([id])
            except (JournalDamaged, PredictionNotFound) as error:
                report.differences.append(
                    Difference(fault=Fault.PAYLOAD, where=id, what=str(error))
                )
                continue
            if not found:
                report.erased += 1
            yield from found

    def _against_runs(
        self,
        journal: JournalReader,
        runs: Runs,
        records: Sequence[Prediction],
        report: Report,
    ) -> Iterator[Difference]:
        """Yield what differs between records and their runs."""
        by_id = runs.look_for([record.id for record in records])
        held = {id: found for id, found in by_id.items() if found}
        elsewhere = [record.id for record in records if record.id not in held]
        shelf = set(self._archived.find(elsewhere)) if self._archived and elsewhere else set()
        report.archived += len(shelf)
        for record in records:
            count = len(held.get(record.id, ()))
            if count == 0 and record.id not in shelf:
                yield Difference(fault=Fault.MISSING, where=record.id)
            elif count > 1:
                yield Difference(fault=Fault.DOUBLED, where=record.id, what=f"{count} active runs")
        found = {run.draft.prediction_id: run.draft for run in runs.read(list(held))}
        found |= yield from self._from_shelf(sorted(shelf))
        for record in records:
            if record.id in found:
                said: Sequence[Feedback] = ()
                with suppress(Erased, JournalDamaged):  # named where its event is read
                    said = journal.feedback_of(record.id)
                yield from differences(draft(record, said), found[record.id])

    def _from_shelf(
        self, ids: Sequence[PredictionId]
    ) -> Generator[Difference, None, Mapping[PredictionId, RunDraft]]:
        """Return archived runs; yield why one cannot be had: halved, until it stands alone."""
        if self._archived is None or not ids:
            return {}
        try:
            return {one.prediction_id: one for one in self._archived.read(ids)}
        except DdxError as error:
            if len(ids) == 1:
                fault = Fault.PAYLOAD if isinstance(error, ArchiveDamaged) else Fault.MISSING
                yield Difference(fault=fault, where=ids[0], what=str(error))
                return {}
        middle = len(ids) // 2
        first = yield from self._from_shelf(ids[:middle])
        second = yield from self._from_shelf(ids[middle:])
        return {**first, **second}


def _read_feedback(journal: JournalReader, ids: Collection[PredictionId], report: Report) -> None:
    """Note what cannot be read of what was said."""
    for id in sorted(ids):
        try:
            journal.feedback_of(id)
        except Erased:
            continue  # counted with its prediction
        except JournalDamaged as error:
            report.differences.append(Difference(fault=Fault.PAYLOAD, where=id, what=str(error)))
