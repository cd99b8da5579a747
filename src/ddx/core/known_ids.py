"""The ids of the records that a machine's journals hold, for the verification of another one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ddx.core.ids import first_id
from ddx.core.record import PredictionId

_MARGIN = timedelta(minutes=1)
"""Between an id and its event, and between two machines' clocks."""
_DIGITS = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownIds:
    """What one machine said."""

    said_at: datetime
    """Before the first journal was read: what began later may be missing."""
    ids: Collection[PredictionId]

    def may_hold(self, id: PredictionId) -> bool:
        """Whether a record of this id is named, or is too new to be."""
        return id in self.ids or id >= first_id(self.said_at - _MARGIN)


def encode(known: KnownIds) -> Iterator[str]:
    """Yield lines: the time, then the ids in order.

    >>> from datetime import UTC
    >>> one = PredictionId("019b76da-a800-7000-8000-000000000000")
    >>> list(encode(KnownIds(said_at=datetime(2026, 1, 2, tzinfo=UTC), ids={one})))
    ['2026-01-02T00:00:00+00:00', '019b76da-a800-7000-8000-000000000000']
    """
    yield known.said_at.isoformat()
    yield from sorted(known.ids)


def decode(lines: Iterable[str]) -> KnownIds:
    """Read the lines. Raises ValueError, which names the line."""
    ids = set[PredictionId]()
    said_at: datetime | None = None
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if said_at is None:
            said_at = _time(text)
        elif len(text) == _DIGITS and text.replace("-", "").isalnum():
            ids.add(PredictionId(text))
        else:
            raise ValueError(f"line {number} is no id of a prediction")
    if said_at is None:
        raise ValueError("it is empty")
    return KnownIds(said_at=said_at, ids=ids)


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError("its first line is not the time when it was made")
    return found
