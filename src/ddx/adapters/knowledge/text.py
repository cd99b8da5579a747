"""A case in prose to findings, each with its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ddx.adapters.knowledge.case import Case, Finding, combine
from ddx.adapters.knowledge.context import Said, Scope, scopes
from ddx.adapters.knowledge.index import Index
from ddx.adapters.knowledge.measures import measures
from ddx.adapters.knowledge.patient import age_of, sex_of
from ddx.adapters.knowledge.phrases import Match, longest
from ddx.adapters.knowledge.questionnaire import answers
from ddx.adapters.knowledge.words import words


def read_text(index: Index, text: str) -> Case:
    """Return what a text says of its patient.

    What is said of relatives, or as a risk or a plan, is left out.
    """
    age = age_of(text)
    asked = list(answers(index.strings["asked"], index.rows, text))
    named = list(_named(index, text))
    numbers = [
        (Finding(term=index.rows[found.term], start=found.start, end=found.end), found.present)
        for found in measures(text, age)
        if found.term in index.rows
    ]
    taken = [(finding.start or 0, finding.end or 0) for finding, _ in asked]
    # An answer is read as its question means it, not again word by word.
    free = [one for one in named + numbers if not _within(one[0], taken)]
    both = sorted(asked + free, key=lambda item: (item[0].start or 0, item[0].term))
    found = Case(
        present=tuple(finding for finding, present in both if present),
        absent=tuple(finding for finding, present in both if not present),
        sex=sex_of(text),
        age_years=age,
    )
    return combine(index, found)


def _named(index: Index, text: str) -> Iterator[tuple[Finding, bool]]:
    around = scopes(text)
    for match in longest(index.phrases.find(text, words(text))):
        said = _said(match, around)
        if said is None or said is Said.ABSENT:
            finding = Finding(term=match.term, start=match.start, end=match.end)
            yield finding, said is None


def _within(finding: Finding, taken: Sequence[tuple[int, int]]) -> bool:
    start = finding.start or 0
    return any(begin <= start < end for begin, end in taken)


def _said(match: Match, around: list[Scope]) -> Said | None:
    """Return what the text around a match says of it; None: the patient has it."""
    inside = {
        scope.said for scope in around if scope.start <= match.start and match.end <= scope.end
    }
    for said in (Said.RELATIVE, Said.POSSIBLE, Said.ABSENT):
        if said in inside:
            return said
    return None
