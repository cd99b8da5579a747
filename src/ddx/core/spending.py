"""What a plan would cost, said before anything is asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What one question would cost, in US dollars by list price; None where unknown."""

    likely: float | None = None
    most: float | None = None
    """With the longest answer, at every attempt. None, too, where answers have no limit."""


FREE = Quote(likely=0.0, most=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What all questions would cost."""

    questions: int
    likely: float | None
    """None where the price of any is unknown."""
    most: float | None
    unknown: tuple[str, ...] = ()
    """Models without a known price."""

    @property
    def free(self) -> bool:
        """Whether it is sure that nothing is to be paid."""
        return self.most == 0.0

    def as_json(self) -> dict[str, Any]:
        """Return it as `ddx sweep --json` prints it."""
        return {
            "questions": self.questions,
            "likely_usd": self.likely,
            "most_usd": self.most,
            "unknown_price": list(self.unknown),
        }


def spending(quotes: Iterable[tuple[str, Quote]]) -> Spending:
    """Add up the quotes of questions, each with its model's name.

    >>> one = Quote(likely=0.25, most=0.5)
    >>> spending([("a", one), ("a", one), ("b", FREE)])
    Spending(questions=3, likely=0.5, most=1.0, unknown=())
    >>> spending([("a", one), ("local", Quote())]).unknown
    ('local',)
    """
    all = list(quotes)
    likely = [quote.likely for _, quote in all if quote.likely is not None]
    most = [quote.most for _, quote in all if quote.most is not None]
    return Spending(
        questions=len(all),
        likely=sum(likely) if len(likely) == len(all) else None,
        most=sum(most) if len(most) == len(all) else None,
        unknown=tuple(dict.fromkeys(name for name, quote in all if quote.likely is None)),
    )


def said(found: Spending) -> str:
    """Say it in a sentence.

    >>> said(Spending(questions=2, likely=0.5, most=None))
    '2 questions, about 0.50 USD; the most is unknown: answers have no limit'
    >>> said(Spending(questions=2, likely=None, most=None, unknown=("local",)))
    '2 questions; what they cost is unknown: no price is known for local'
    """
    start = f"{found.questions} questions"
    if found.free:
        return f"{start}, free of charge"
    if found.likely is None:
        return (
            f"{start}; what they cost is unknown: no price is known for {', '.join(found.unknown)}"
        )
    if found.most is None:
        return f"{start}, about {usd(found.likely)}; the most is unknown: answers have no limit"
    return f"{start}, about {usd(found.likely)}, at most {usd(found.most)}"


def usd(amount: float) -> str:
    """Say an amount; a small one to two figures.

    >>> usd(12.345), usd(0.00123)
    ('12.35 USD', '0.0012 USD')
    """
    return f"{amount:.2f} USD" if amount >= 0.01 or not amount else f"{amount:.2g} USD"
