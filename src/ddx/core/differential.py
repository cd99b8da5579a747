"""Quotes found in the case, and likelihood words."""

from __future__ import annotations

import re

from ddx.core.record import Evidence, Likelihood

_WORDS = {
    "high": Likelihood.HIGH,
    "very high": Likelihood.HIGH,
    "moderate-high": Likelihood.MODERATE_HIGH,
    "medium-high": Likelihood.MODERATE_HIGH,
    "moderate": Likelihood.MODERATE,
    "medium": Likelihood.MODERATE,
    "low-moderate": Likelihood.LOW_MODERATE,
    "low-medium": Likelihood.LOW_MODERATE,
    "moderate-low": Likelihood.LOW_MODERATE,
    "low": Likelihood.LOW,
    "very low": Likelihood.LOW,
}
_SAME = str.maketrans(
    {"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-"}
)


def likelihood_word(text: str) -> Likelihood | None:
    """Read a likelihood as models write it; None where it is none of the five.

    >>> likelihood_word("Moderate to High"), likelihood_word(" medium "), likelihood_word("42")
    (<Likelihood.MODERATE_HIGH: 'Moderate-High'>, <Likelihood.MODERATE: 'Moderate'>, None)
    """
    word = re.sub(r"\s*(?:-|/|_|\bto\b)\s*", "-", text.strip().lower())
    return _WORDS.get(word.removesuffix(" likelihood").removesuffix(" probability"))


def likelihood_of(probability: float) -> Likelihood:
    """Say a probability in [0, 1] as a likelihood.

    >>> likelihood_of(0.5), likelihood_of(0.01)
    (<Likelihood.HIGH: 'High'>, <Likelihood.LOW: 'Low'>)
    """
    bounds = (
        (0.5, Likelihood.HIGH),
        (0.25, Likelihood.MODERATE_HIGH),
        (0.10, Likelihood.MODERATE),
        (0.03, Likelihood.LOW_MODERATE),
    )
    return next((word for bound, word in bounds if probability >= bound), Likelihood.LOW)


def find_quote(case: str, quote: str) -> tuple[int, int] | None:
    """Where `quote` stands in `case`, as [start, end); None where it does not.

    Case, kind of quotation mark and dash, and width of white space do not count; words do.

    >>> find_quote("Has had FEVER  for 3 days.", "fever for 3 days")
    (8, 25)
    >>> find_quote("No rash.", "petechial rash") is None
    True
    """
    words = quote.strip().strip("\"'\u201c\u201d\u2018\u2019.\u2026").translate(_SAME).split()
    if not words:
        return None
    pattern = r"\s+".join(re.escape(word) for word in words)
    # A quote does not begin or end inside a word: "ill" does not stand in "chills".
    before = r"(?<!\w)" if words[0][0].isalnum() else ""
    after = r"(?!\w)" if words[-1][-1].isalnum() else ""
    found = re.search(before + pattern + after, case.translate(_SAME), re.IGNORECASE)
    return found.span() if found else None


def quoted(case: str, finding: str, quote: str) -> Evidence | None:
    """Return the evidence with its place in the case, in the case's own letters."""
    place = find_quote(case, quote)
    if place is None:
        return None
    start, end = place
    return Evidence(finding=finding, quote=case[start:end], start=start, end=end)
