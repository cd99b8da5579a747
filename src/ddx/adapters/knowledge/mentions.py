"""The findings that a text names: whether the patient has each, or is said not to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ddx.adapters.knowledge.context import Said, Scope, scopes
from ddx.adapters.knowledge.phrases import Match, Phrases, longest
from ddx.adapters.knowledge.words import words


def mentions(phrases: Phrases, text: str) -> Iterator[tuple[Match, bool]]:
    """Yield each finding that is named, with its place, and whether it is there.

    What is said of relatives, or as a risk or a plan, is left out.
    """
    around = scopes(text)
    for match in longest(phrases.find(text, words(text))):
        said = _said(match, around)
        if said is None or said is Said.ABSENT:
            yield match, said is None


def _said(match: Match, around: Sequence[Scope]) -> Said | None:
    """Return what the text around a match says of it; None: it is there."""
    inside = {
        scope.said for scope in around if scope.start <= match.start and match.end <= scope.end
    }
    for said in (Said.RELATIVE, Said.POSSIBLE, Said.ABSENT):
        if said in inside:
            return said
    return None
