"""Exports of what the journals hold, from settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ddx.adapters.casesets.write import write
from ddx.core.caseset import Case
from ddx.core.chain import Kind
from ddx.core.feedback import case_of
from ddx.core.record import PredictionId
from ddx.errors import Erased
from ddx.ports import JournalReader
from ddx.settings import Settings
from ddx.wiring.doors import Journals

_WINDOW = 1_000


def export_cases(settings: Settings, path: Path) -> int:
    """Write the cases whose true diagnosis somebody named, as `ddx evaluate` reads them.

    Returns how many. The erased are left out. Raises OutputRefused, JournalUnavailable,
    JournalDamaged.
    """
    with closing(Journals(settings)) as journals:
        return write(path, (case for journal in journals() for case in _cases(journal)))


def _cases(journal: JournalReader) -> Iterator[Case]:
    """Yield them in the order in which each was first spoken of."""
    seen = set()
    after = 0
    while events := journal.events(after, _WINDOW):
        after = events[-1].seq
        for event in events:
            if event.kind is not Kind.FEEDBACK or event.prediction_id in seen:
                continue
            seen.add(event.prediction_id)
            case = _case(journal, event.prediction_id)
            if case is not None:
                yield case


def _case(journal: JournalReader, id: PredictionId) -> Case | None:
    try:
        said = journal.feedback_of(id)
    except Erased:
        return None
    found = journal.predictions([id])
    return case_of(found[0], said) if found else None
