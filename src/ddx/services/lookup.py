"""Find kept predictions again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ddx.core import ids
from ddx.core.callers import tenant_of
from ddx.core.record import Prediction, PredictionId
from ddx.errors import Erased

LOOKED_AT = 1_000
"""Records are encrypted, so each is opened to be compared: this many for one page."""
_CHUNK = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which predictions; None means any."""

    outcome: str | None = None
    """`answered`, `insufficient_information`, `failed`, `interrupted` …, or `running`."""
    error_code: str | None = None
    model_name: str | None = None
    tracker: str | None = None
    since: datetime | None = None
    """Received at this time or later."""
    until: datetime | None = None
    """Received before this time."""
    tenant: str | None = None
    """Whose they are."""
    before: PredictionId | None = None
    """Older than this prediction: where the last page ended."""

    def holds(self, found: Prediction) -> bool:
        """Say whether a prediction is among the wanted, its time left aside."""
        kind = found.outcome.kind if found.outcome else "running"
        code = getattr(found.outcome, "code", None)
        return (
            self.tenant in (None, tenant_of(found.caller))
            and self.outcome in (None, kind)
            and self.error_code in (None, code)
            and self.model_name in (None, found.request.model_name)
            and self.tracker in (None, found.request.tracker)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some of what is wanted, the newest first."""

    predictions: Sequence[Prediction]
    next: PredictionId | None
    """Where the next page begins; None where there is none. A page may be short, or empty, and
    have a next one: the look ends after LOOKED_AT records."""


class Listed(Protocol):
    """What is looked through: a journal, or several."""

    def find(self, id: PredictionId) -> Prediction | None:
        """Return a record. Raises Erased."""

    def newest(
        self, before: PredictionId | None, since: PredictionId | None, limit: int
    ) -> Sequence[PredictionId]:
        """Return ids, the newest first; see ports.Journal."""


def page(journal: Listed, wanted: Wanted, limit: int) -> Page:
    """Return up to `limit` of the wanted predictions; the erased are left out."""
    found: list[Prediction] = []
    last: PredictionId | None = None
    for looked_at, id in enumerate(_ids(journal, wanted)):
        if len(found) == limit or looked_at == LOOKED_AT:
            return Page(predictions=found, next=last)
        last = id
        with suppress(Erased):
            record = journal.find(id)
            if record is not None and wanted.holds(record):
                found.append(record)
    return Page(predictions=found, next=None)


def _ids(journal: Listed, wanted: Wanted) -> Iterator[PredictionId]:
    since = ids.first_id(wanted.since) if wanted.since else None
    ends = [wanted.before, ids.first_id(wanted.until) if wanted.until else None]
    before = min((end for end in ends if end is not None), default=None)
    while chunk := journal.newest(before, since, _CHUNK):
        yield from chunk
        before = chunk[-1]
