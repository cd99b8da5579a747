"""Whether stated probabilities come true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The predictions whose probability lies in [low, high)."""

    low: float
    high: float
    n: int
    stated: float
    """Mean probability; 0.0 where n is 0."""
    true: float
    """Share that was right; 0.0 where n is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Stated probabilities beside what came true."""

    n: int
    error: float
    """Expected calibration error: mean distance of `stated` and `true`, weighted by n."""
    brier: float
    """Mean squared distance of a probability from 1 (right) or 0 (wrong)."""
    bins: tuple[Bin, ...]


def calibration(stated: Sequence[float], right: Sequence[bool]) -> Calibration | None:
    """Return the calibration of probabilities in [0, 1]; None where there are none.

    >>> found = calibration([0.9, 0.9, 0.1, 0.1], [True, True, False, True])
    >>> found.n, round(found.error, 4), round(found.brier, 4)
    (4, 0.25, 0.21)
    >>> [(b.low, b.n, b.stated, b.true) for b in found.bins if b.n]
    [(0.1, 2, 0.1, 0.5), (0.9, 2, 0.9, 1.0)]
    >>> calibration([1.0], [True]).error, calibration([], [])
    (0.0, None)
    """
    if not stated:
        return None
    pairs = list(zip(stated, right, strict=True))
    groups: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for pair in pairs:
        groups[min(BINS - 1, int(pair[0] * BINS + 1e-9))].append(pair)
    bins = tuple(_bin(place, group) for place, group in enumerate(groups))
    return Calibration(
        n=len(pairs),
        error=round(sum(b.n * abs(b.stated - b.true) for b in bins) / len(pairs), 6),
        brier=round(sum((p - is_right) ** 2 for p, is_right in pairs) / len(pairs), 6),
        bins=bins,
    )


def _bin(place: int, group: Sequence[tuple[float, bool]]) -> Bin:
    n = len(group)
    return Bin(
        low=place / BINS,
        high=(place + 1) / BINS,
        n=n,
        stated=round(sum(p for p, _ in group) / n, 6) if n else 0.0,
        true=round(sum(is_right for _, is_right in group) / n, 6) if n else 0.0,
    )
