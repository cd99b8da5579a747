"""The address of a dashboard: which time, which predictions, compared by what.

Everything that a look depends on is in its address, so that it can be kept, sent and reloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import urlencode

from ddx.core.report import FILTERS, TIMES, By, Question
from ddx.errors import InvalidRequest

RANGES = {
    "1h": ("last hour", timedelta(hours=1)),
    "24h": ("last 24 hours", timedelta(hours=24)),
    "7d": ("last 7 days", timedelta(days=7)),
    "30d": ("last 30 days", timedelta(days=30)),
    "90d": ("last 90 days", timedelta(days=90)),
    "all": ("all", None),
}
USUAL_RANGE = "7d"
USUAL_BY = (By.MODEL, By.PROMPT, By.TEMPERATURE)
COMPARABLE = (
    USUAL_BY,
    *((by,) for by in By if by not in TIMES and by not in (By.OUTCOME, By.ERROR_CODE)),
)
_OTHERS = ("range", "since", "until", "by", "one", "other", "live", "at", "narrow")
"""`at` tells a chart from the one before it, for a browser that keeps images."""
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Chosen:
    """What an address asks for."""

    given: Mapping[str, str]
    """Its fields, without empty ones."""
    question: Question
    by: tuple[By, ...]
    one: str
    other: str
    """Names of two groups that are compared; empty where none are."""
    live: bool
    narrow: bool
    """Whether a chart is for a telephone."""

    @property
    def range(self) -> str:
        """The name of its range; empty where days are named."""
        named = "since" in self.given or "until" in self.given
        return "" if named else self.given.get("range", USUAL_RANGE)

    def address(self, path: str = "/dashboard", **changes: str) -> str:
        """Return an address with some fields changed; an empty value takes one away."""
        fields = {k: v for k, v in {**self.given, **changes}.items() if v}
        return f"{path}?{urlencode(fields)}" if fields else path


def chosen(query: Mapping[str, str], now: datetime, tenant: str | None = None) -> Chosen:
    """Read an address; a tenant sees its own.

    Raises InvalidRequest, which names the field and not its value.
    """
    given = {name: value for name, value in query.items() if value}
    names = {by.value for by in FILTERS} | set(_OTHERS)
    if not given.keys() <= names:
        raise InvalidRequest(f"There is no such filter; there are {', '.join(sorted(names))}.")
    if any(len(value) > _LONGEST for value in given.values()):
        raise InvalidRequest("A filter is at most 200 characters long.")
    since, until = _day("since", given), _day("until", given)
    if since is None and until is None:
        since = _beginning(given.get("range", USUAL_RANGE), now)
    where = {by: given[by.value] for by in FILTERS if by.value in given}
    return Chosen(
        given=given,
        question=Question(
            since=since,
            until=until + timedelta(days=1) if until else None,
            where=where,
            tenant=tenant,
        ),
        by=_by(given.get("by")),
        one=given.get("one", ""),
        other=given.get("other", ""),
        live=given.get("live") == "1",
        narrow=given.get("narrow") == "1",
    )


def by_name(by: tuple[By, ...]) -> str:
    """Return the name of what is compared.

    >>> by_name(USUAL_BY)
    'model,prompt,temperature'
    """
    return ",".join(one.value for one in by)


def _by(name: str | None) -> tuple[By, ...]:
    found = {by_name(one): one for one in COMPARABLE}
    if name is None:
        return USUAL_BY
    if name not in found:
        raise InvalidRequest(f"by: must be one of {'; '.join(found)}", field="by")
    return found[name]


def _beginning(name: str, now: datetime) -> datetime | None:
    if name not in RANGES:
        raise InvalidRequest(f"range: must be one of {', '.join(RANGES)}", field="range")
    length = RANGES[name][1]
    if length is None:
        return None
    # To the minute, so that a page and its charts ask one question.
    return now.replace(second=0, microsecond=0) - length


def _day(name: str, given: Mapping[str, str]) -> datetime | None:
    if name not in given:
        return None
    try:
        day = date.fromisoformat(given[name])
    except ValueError:
        day = date.min
    if not 1970 < day.year < 9998:
        raise InvalidRequest(f"{name}: must be a day as 2026-01-31", field=name)
    return datetime.combine(day, time(), UTC)
