"""Erase predictions for ever: destroy each record's key, then what MLflow holds of it.

The event `erased` is on stable storage before anything is destroyed, so that the chain says what
was done even where the process dies. Everything can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ddx.core import ids as prediction_ids
from ddx.core.chain import Kind
from ddx.core.record import Prediction, PredictionId
from ddx.errors import (
    DdxError,
    Erased,
    JournalDamaged,
    OnHold,
    PredictionNotFound,
    UnfinishedPrediction,
)
from ddx.ports import Journal, JournalReader, RunEraser

_WINDOW = 500
_Repeats = dict[PredictionId, list[tuple[PredictionId, str, str]]]
"""Prediction -> what repeats it: id, instance of its journal, and by what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A prediction that is to be erased, or whose key is destroyed already."""

    id: PredictionId
    instance: str
    """Of the journal that holds it."""
    why: str
    """`asked for`, or what it repeats."""
    gone: bool = False
    """Whether its key is destroyed already: what is left of it elsewhere is still looked for."""


@dataclass(slots=True, kw_only=True)
class Certificate:
    """What was erased, and what remains where."""

    at: datetime
    erased: list[dict[str, object]] = field(default_factory=list)
    remains: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether nothing was left undone that another try could do."""
        return not any(one["undone"] for one in self.erased)


def targets(
    journals: Sequence[JournalReader],
    ids: Collection[str],
    trackers: Collection[str],
    holds: Collection[str] = (),
) -> list[Target]:
    """Return what is meant: these ids, what came with these trackers, and what repeats any of
    them, a retry or a replay: the case is in each.

    Every record is opened for it, since trackers stand in them alone. Raises PredictionNotFound
    where an id or a tracker is nowhere, UnfinishedPrediction where one is under way, OnHold where
    `holds`, ids and trackers, has one of them.
    """
    found: dict[PredictionId, Target] = {}
    held = set[PredictionId]()
    missing = {*ids, *trackers}
    repeats: _Repeats = {}
    for journal in journals:
        for id, record in _records(journal):
            tracker = record.request.tracker if record else None
            if _on_hold(id, tracker, holds):
                held.add(id)
            if id in ids or (tracker is not None and tracker in trackers):
                _refuse_running(record)
                missing -= {id, tracker}
                found[id] = Target(
                    id=id, instance=journal.instance, why="asked for", gone=record is None
                )
            for earlier, word in _earlier(record):
                repeats.setdefault(earlier, []).append((id, journal.instance, word))
    if missing:
        count = len(missing)
        raise PredictionNotFound(
            f"{count} of the ids and trackers {'is' if count == 1 else 'are'} in no journal here"
        )
    _add_repeats(found, repeats)
    if not held.isdisjoint(found):
        raise OnHold(f"{len(held & found.keys())} of {len(found)} predictions are on legal hold")
    return sorted(found.values(), key=lambda one: one.id)


def aged(
    journals: Sequence[JournalReader], before: datetime, holds: Collection[str] = ()
) -> tuple[list[Target], int]:
    """Return the finished predictions that were received before a time, and how many of that age
    stay because they are on hold. What is erased already is left out.
    """
    found, held = list[Target](), 0
    for journal in journals:
        for id, record in _records(journal, before):
            if record is None or record.completion is None:
                continue
            if _on_hold(id, record.request.tracker, holds):
                held += 1
                continue
            why = f"received {record.received_at:%Y-%m-%d}"
            found.append(Target(id=id, instance=journal.instance, why=why))
    return sorted(found, key=lambda one: one.id), held


def erase(
    wanted: Sequence[Target],
    *,
    own: Journal,
    destroy: Callable[[Target], None],
    forget: Callable[[PredictionId], None],
    runs: RunEraser,
    now: datetime,
) -> Certificate:
    """Erase them; return what was done. `own` is the journal of this process, for the events;
    `forget` destroys what the claims of several machines keep of an answer.

    Raises JournalUnavailable, and then nothing more is destroyed. Where MLflow is away the key is
    destroyed all the same, and the certificate says what is left to do.
    """
    done = Certificate(at=now)
    for target in wanted:
        if not target.gone:
            own.add_erasure(target.id).result()
            destroy(target)
        entry: dict[str, object] = {
            "prediction_id": target.id,
            "journal": target.instance,
            "why": target.why,
            "key": "destroyed before" if target.gone else "destroyed",
        }
        try:
            entry |= {"mlflow": runs.erase(target.id, now), "undone": None}
        except DdxError as error:
            entry |= {"mlflow": None, "undone": f"MLflow: {error}"}
        try:
            # Of one that is gone, too: an earlier try may have ended here.
            forget(target.id)
        except DdxError as error:
            entry["undone"] = f"{entry['undone'] or ''} claims: {error}".strip()
        done.erased.append(entry)
    done.remains += [
        "The chain keeps the ciphertext, which no key opens any more, with time and id.",
        "The ledger keeps figures without patient text; so do the run's params and metrics.",
        "A backup that holds the old key file opens the record: erase there, or destroy it.",
        *runs.remains,
    ]
    return done


def _add_repeats(found: dict[PredictionId, Target], repeats: _Repeats) -> None:
    """Add what repeats a target, and what repeats that."""
    waiting = list(found)
    while waiting:
        earlier = waiting.pop()
        for id, instance, word in repeats.get(earlier, ()):
            if id not in found:
                found[id] = Target(id=id, instance=instance, why=f"{word} of {earlier}")
                waiting.append(id)


def _on_hold(id: PredictionId, tracker: str | None, holds: Collection[str]) -> bool:
    return id in holds or (tracker is not None and tracker in holds)


def _records(
    journal: JournalReader, before: datetime | None = None
) -> Iterator[tuple[PredictionId, Prediction | None]]:
    """Yield every accepted prediction, of before a time; None where its key is destroyed."""
    after = 0
    while events := journal.events(after, _WINDOW):
        after = events[-1].seq
        for event in events:
            if event.kind is not Kind.ACCEPTED:
                continue
            if before is None or prediction_ids.made_at(event.prediction_id) < before:
                try:
                    found = journal.predictions([event.prediction_id])
                except (Erased, JournalDamaged):
                    found = ()
                yield event.prediction_id, found[0] if found else None


def _earlier(record: Prediction | None) -> Iterator[tuple[PredictionId, str]]:
    if record is not None and record.retry_of:
        yield record.retry_of, "retry"
    if record is not None and record.replay_of:
        yield record.replay_of, "replay"


def _refuse_running(record: Prediction | None) -> None:
    if record is not None and record.completion is None:
        raise UnfinishedPrediction(f"prediction {record.id} is under way")
