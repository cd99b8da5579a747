"""Questions to the ledger, and figures as answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from ddx.core.ranking import Estimate, wilson


class By(StrEnum):
    """What figures can be grouped by."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MODEL = "model"
    LLM = "llm"
    PROMPT = "prompt"
    TEMPERATURE = "temperature"
    TOP_K = "top_k"
    MAX_TOKENS = "max_tokens"
    OUTCOME = "outcome"
    ERROR_CODE = "error_code"
    CALLER = "caller"
    VERSION = "version"
    PROGRAM = "program_digest"


TIMES = frozenset({By.HOUR, By.DAY, By.WEEK})
_HOURS = timedelta(days=3)
_DAYS = timedelta(days=120)
"""So long is told by the hour, and by the day; what is longer by the week."""
_MANY = 20_000
"""Of both groups together, from which counting every table takes long."""
FILTERS = (By.MODEL, By.PROMPT, By.OUTCOME, By.ERROR_CODE, By.CALLER, By.TEMPERATURE)
"""What rows can be chosen by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which predictions, and how they are grouped."""

    since: datetime | None = None
    """Received at this time or later."""
    until: datetime | None = None
    """Received before this time."""
    by: tuple[By, ...] = ()
    tenant: str | None = None
    """Only what this tenant's keys asked."""
    where: Mapping[By, str] = field(default_factory=dict)
    """Only rows with this value; `none` for those without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures over some predictions. None where nothing is known."""

    key: tuple[Any, ...] = ()
    """Value of each `by`, in its order; a time is the beginning of its hour, day or week."""
    predictions: int = 0
    answered: int = 0
    declined: int = 0
    failed: int = 0
    cancelled: int = 0
    interrupted: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    """Of the time from receipt to answer."""
    llm_p50_s: float | None = None
    own_p50_s: float | None = None
    """Of that time: waiting for the LLM, and all else. Of predictions that asked one."""
    attempts: float | None = None
    """Mean, of predictions that asked an LLM."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    """Of predictions whose cost is known."""
    cost_unknown: int = 0
    """Predictions whose cost is not known."""
    rated: int = 0
    """Predictions of which somebody said accepted or overridden."""
    accepted: int = 0
    truths: int = 0
    """Predictions whose true diagnosis was told."""
    truth_first: int = 0
    truth_listed: int = 0

    @property
    def success_rate(self) -> float | None:
        """Share that was answered or declined, of all; what `success` of MLflow's runs says."""
        return (self.answered + self.declined) / self.predictions if self.predictions else None

    def as_json(self, by: Sequence[By] = ()) -> dict[str, Any]:
        """Return it as `ddx report --json` prints it."""
        values = asdict(self)
        del values["key"]
        named = {
            one.value: value.isoformat() if isinstance(value, datetime) else value
            for one, value in zip(by, self.key, strict=True)
        }
        return {**named, **values, "success_rate": self.success_rate}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A prediction without an answer."""

    prediction_id: str
    received_at: datetime
    model: str
    outcome: str
    error_code: str | None
    status: int
    attempts: int | None
    duration_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the ledger holds, for people to choose from."""

    first: datetime | None = None
    last: datetime | None = None
    """When the first and the last prediction came, None where there is none."""
    values: Mapping[By, Sequence[str]] = field(default_factory=dict)
    """Of each of FILTERS, as `said` says them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two groups side by side, and whether chance explains how they differ."""

    figure: str
    first: Estimate
    first_n: int
    second: Estimate
    second_n: int
    p: float
    """Two-sided; 1.0 where there is nothing to compare."""


def said(value: object) -> str:
    """Say a value of a group as people name it, and as a question names it.

    >>> said(None), said(0.0), said(0.7), said("gpt-4o")
    ('none', '0', '0.7', 'gpt-4o')
    """
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def step_of(length: timedelta) -> By:
    """Return the step in which a time of this length is told.

    >>> step_of(timedelta(hours=24)).value, step_of(timedelta(days=30)).value
    ('hour', 'day')
    """
    return By.HOUR if length <= _HOURS else By.DAY if length <= _DAYS else By.WEEK


def differences(first: Figures, second: Figures) -> tuple[Difference, ...]:
    """Compare the shares of two groups: success, agreement with clinicians, truth first.

    >>> one = Figures(predictions=100, answered=95)
    >>> other = Figures(predictions=100, answered=80)
    >>> [(found.figure, found.p < 0.01) for found in differences(one, other)]
    [('success', True)]
    """
    shares = {
        "success": [(f.answered + f.declined, f.predictions) for f in (first, second)],
        "accepted by clinicians": [(f.accepted, f.rated) for f in (first, second)],
        "true diagnosis first": [(f.truth_first, f.truths) for f in (first, second)],
    }
    return tuple(
        Difference(
            figure=name,
            first=wilson(a, n),
            first_n=n,
            second=wilson(b, m),
            second_n=m,
            p=two_shares(a, n, b, m),
        )
        for name, ((a, n), (b, m)) in shares.items()
        if n and m
    )


def two_shares(a: int, n: int, b: int, m: int) -> float:
    """Return the two-sided p that a of n and b of m are of one share.

    Fisher's exact test; for very many, the normal approximation of it.

    >>> round(two_shares(8, 10, 1, 10), 4)
    0.0055
    >>> round(two_shares(3, 6, 5, 10), 4)
    1.0
    >>> round(two_shares(9000, 20000, 9200, 20000), 4)
    0.0446
    """
    total = a + b
    if n + m > _MANY:
        pooled = total / (n + m)
        spread = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
        return math.erfc(abs(a / n - b / m) / spread / math.sqrt(2)) if spread else 1.0

    def log_chance(first: int) -> float:
        return _log_choose(n, first) + _log_choose(m, total - first) - _log_choose(n + m, total)

    seen = log_chance(a)
    low, high = max(0, total - m), min(n, total)
    # As R does: tables as likely as the one seen count, whatever rounding says.
    extreme = (log_chance(x) for x in range(low, high + 1))
    return min(1.0, math.fsum(math.exp(c) for c in extreme if c <= seen + 1e-7))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
