"""Figures of ranked lists, their intervals, and whether two lists differ.

A rank counts from 1; None is a truth that is not in the list, a refusal or a failure. All of them
stay in every mean, so answering fewer cases cannot raise a figure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Z_95 = 1.959963984540054
ROUNDS = 1000
"""Resamples of a bootstrap."""
RESAMPLED = 400
"""Most values that are resampled: beyond, the means of resamples are normal to the third digit,
and a thousand resamples of some thousand cases would take longer than the cases."""
FLIPS = 10_000
"""Random sign patterns of a paired test."""


class Luck(Protocol):
    """Random numbers, which the core is told; `random.Random(seed)` is one."""

    def choices(self, population: Sequence[float], *, k: int) -> list[float]:
        """Draw `k` times with replacement."""

    def getrandbits(self, k: int, /) -> int:
        """Return an integer of `k` random bits."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """Return it as `ddx evaluate --json` prints it."""
        return {"value": self.value, "low": self.low, "high": self.high}


# --- one list ---------------------------------------------------------------------------


def hit(rank: int | None, k: int) -> float:
    """Return 1.0 where the truth is among the first `k`, else 0.0.

    >>> [hit(rank, 3) for rank in (1, 3, 4, None)]
    [1.0, 1.0, 0.0, 0.0]
    """
    return float(rank is not None and rank <= k)


def reciprocal_rank(rank: int | None) -> float:
    """Return 1 / `rank`, or 0.0 when the truth is not listed.

    >>> [reciprocal_rank(rank) for rank in (1, 4, None)]
    [1.0, 0.25, 0.0]

    Raises ValueError when `rank` is below 1.
    """
    if rank is None:
        return 0.0
    if rank < 1:
        raise ValueError(f"rank counts from 1, got {rank}")
    return 1 / rank


def dcg(gains: Sequence[float], k: int) -> float:
    """Return the discounted gain of the first `k` places: the sum of gain / log2(place + 1).

    The first place is not discounted (log2 2 = 1), the second is divided by log2 3 = 1.585.

    >>> dcg([3, 2], 10) == 3 + 2 / math.log2(3)
    True
    >>> round(dcg([0, 0, 1], 10), 4), dcg([0, 0, 1], 2)
    (0.5, 0.0)
    """
    return sum(gain / math.log2(place + 1) for place, gain in enumerate(gains[:k], start=1))


def ndcg(gains: Sequence[float], relevant: Sequence[float], k: int) -> float:
    """Return the discounted gain of a list as a share of the best one possible.

    `gains` are those of the listed places, `relevant` those of everything that should be
    listed, found or not: an ideal made of what was found would give 1.0 to any list that has
    one hit at the top and misses the rest.

    >>> ndcg([1], [1], 10), ndcg([0, 1], [1], 10) == 1 / math.log2(3)
    (1.0, True)
    >>> round(ndcg([1, 0, 0], [1, 1], 10), 4)  # 1 / (1 + 1 / log2 3)
    0.6131
    >>> round(ndcg([0, 3, 2], [3, 2], 10), 4)  # (3 / 1.585 + 2 / 2) / (3 + 2 / 1.585)
    0.6788
    >>> ndcg([0, 0], [1], 10), ndcg([0], [], 10)
    (0.0, 0.0)
    """
    ideal = dcg(sorted(relevant, reverse=True), k)
    return dcg(gains, k) / ideal if ideal else 0.0


def ndcg_of_rank(rank: int | None, k: int) -> float:
    """Return `ndcg` where there is one truth: 1 / log2(rank + 1) within the first `k`.

    >>> [round(ndcg_of_rank(rank, 10), 4) for rank in (1, 2, 3, 10, 11, None)]
    [1.0, 0.6309, 0.5, 0.2891, 0.0, 0.0]
    """
    if rank is None or rank > k:
        return 0.0
    return ndcg([0.0] * (rank - 1) + [1.0], [1.0], k)


# --- many lists -------------------------------------------------------------------------


def wilson(hits: float, n: int) -> Estimate:
    """Return a share with Wilson's interval, which stays within [0, 1].

    >>> wilson(8, 10)
    Estimate(value=0.8, low=0.4902, high=0.9433)
    >>> wilson(0, 20).high, wilson(0, 0)
    (0.1611, Estimate(value=0.0, low=0.0, high=1.0))

    Source: Wilson, JASA 22 (1927) 209.
    """
    if n == 0:
        return Estimate(0.0, 0.0, 1.0)
    share, z2 = hits / n, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return _rounded(share, max(0.0, centre - half), min(1.0, centre + half))


def bootstrap(values: Sequence[float], luck: Luck, rounds: int = ROUNDS) -> Estimate:
    """Return a mean with the middle 95 % of the means of resamples.

    Above `RESAMPLED` values it is the interval that these means have in the limit.

    >>> from random import Random
    >>> bootstrap([0.0, 1.0] * 50, Random(1))
    Estimate(value=0.5, low=0.4, high=0.6)
    >>> bootstrap([], Random(1)), bootstrap([0.25], Random(1))
    (Estimate(value=0.0, low=0.0, high=1.0), Estimate(value=0.25, low=0.25, high=0.25))
    >>> bootstrap([0.0, 1.0] * 500, Random(1))
    Estimate(value=0.5, low=0.469, high=0.531)
    """
    n = len(values)
    if n == 0:
        return Estimate(0.0, 0.0, 1.0)
    if n > RESAMPLED:
        mean = sum(values) / n
        half = Z_95 * math.sqrt(sum((value - mean) ** 2 for value in values) / n / n)
        return _rounded(mean, mean - half, mean + half)
    means = sorted(sum(luck.choices(values, k=n)) / n for _ in range(rounds))
    return _rounded(sum(values) / n, means[int(0.025 * rounds)], means[int(0.975 * rounds) - 1])


def share(values: Sequence[float], luck: Luck) -> Estimate:
    """Return the mean of values in [0, 1]: Wilson's where each is 0 or 1, else a bootstrap's.

    A case that was asked several times counts with the mean of its answers.
    """
    if all(value in (0.0, 1.0) for value in values):
        return wilson(sum(values), len(values))
    return bootstrap(values, luck)


# --- two lists of the same cases --------------------------------------------------------


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided exact p that two methods are equally often right.

    Only the cases count in which one of them is right and the other is not.

    >>> mcnemar(0, 0), mcnemar(1, 1), round(mcnemar(1, 9), 4), round(mcnemar(5, 15), 4)
    (1.0, 1.0, 0.0215, 0.0414)

    Source: McNemar, Psychometrika 12 (1947) 153; the exact binomial form.
    """
    n, less = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(n, i) for i in range(less + 1))
    return min(1.0, 2 * tail / (1 << n))


def sign_flip(differences: Sequence[float], luck: Luck, flips: int = FLIPS) -> float:
    """Return the two-sided p that paired differences are as likely positive as negative.

    Each flip gives every difference a random sign; p is the share of flips whose sum is at
    least as far from 0 as the one seen, that one counted too.

    >>> from random import Random
    >>> sign_flip([0.0, 0.0], Random(1)), sign_flip([0.5], Random(1))
    (1.0, 1.0)
    >>> sign_flip([0.5] * 20, Random(1)) < 0.001
    True
    >>> sign_flip([0.5, -0.5] * 20, Random(1)) > 0.9
    True
    """
    # Equal sizes flip together: the sum of m random signs is 2 x (ones among m bits) - m.
    sizes = Counter(round(abs(d), 12) for d in differences if d)
    seen = abs(sum(differences)) - 1e-9
    extreme = sum(
        abs(sum(size * (2 * luck.getrandbits(m).bit_count() - m) for size, m in sizes.items()))
        >= seen
        for _ in range(flips)
    )
    return (extreme + 1) / (flips + 1)


def _rounded(value: float, low: float, high: float) -> Estimate:
    """Four digits: more would only say how the interval was drawn."""
    return Estimate(round(value, 6), round(low, 4), round(high, 4))
