"""Names of predictions and of their runs."""

from __future__ import annotations

from datetime import UTC, datetime

from ddx.core.record import PredictionId


def prediction_id(now: datetime, luck: bytes) -> PredictionId:
    """Return a UUIDv7: 48 bits of milliseconds, then 74 random bits from `luck` (10 bytes).

    Source: RFC 9562, section 5.7.

    >>> prediction_id(datetime(2026, 1, 1, tzinfo=UTC), bytes(10))
    '019b76da-a800-7000-8000-000000000000'
    """
    milliseconds = int(now.timestamp() * 1000)
    random_a = int.from_bytes(luck[:2]) & 0x0FFF
    random_b = int.from_bytes(luck[2:10]) & (2**62 - 1)
    number = milliseconds << 80 | 0x7 << 76 | random_a << 64 | 0b10 << 62 | random_b
    digits = f"{number:032x}"
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return PredictionId("-".join(parts))


def made_at(id: PredictionId) -> datetime:
    """Return when an id was made, to the millisecond.

    >>> made_at(PredictionId("019b76da-a800-7000-8000-000000000000")).isoformat()
    '2026-01-01T00:00:00+00:00'
    """
    return datetime.fromtimestamp(int(id.replace("-", "")[:12], 16) / 1000, UTC)


def first_id(since: datetime) -> PredictionId:
    """Return what no id made at or after a time is below, and none made before it reaches.

    >>> first_id(datetime(2026, 1, 1, tzinfo=UTC)) <= prediction_id(
    ...     datetime(2026, 1, 1, tzinfo=UTC), bytes(10)
    ... )
    True

    Raises ValueError for a time before 1970, and OverflowError for one that no id can hold.
    """
    return PredictionId(prediction_id(since, bytes(10))[:13])


def run_id(id: PredictionId) -> str:
    """Return the MLflow run id of a prediction, where we choose it: its 32 hex digits.

    >>> run_id(PredictionId("019b76da-a800-7000-8000-000000000000"))
    '019b76daa80070008000000000000000'
    """
    return id.replace("-", "")
