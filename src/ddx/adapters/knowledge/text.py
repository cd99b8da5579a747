"""A case in prose to findings, each with its place."""

from __future__ import annotations

from collections.abc import Sequence

from ddx.adapters.knowledge.case import Case, Finding, combine
from ddx.adapters.knowledge.index import Index
from ddx.adapters.knowledge.measures import measures
from ddx.adapters.knowledge.mentions import mentions
from ddx.adapters.knowledge.patient import age_of, sex_of
from ddx.adapters.knowledge.questionnaire import answers


def read_text(index: Index, text: str) -> Case:
    """Return what a text says of its patient.

    What is said of relatives, or as a risk or a plan, is left out.
    """
    age = age_of(text)
    asked = list(answers(index.strings["asked"], index.rows, text))
    named = [
        (Finding(term=match.term, start=match.start, end=match.end), there)
        for match, there in mentions(index.phrases, text)
    ]
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


def _within(finding: Finding, taken: Sequence[tuple[int, int]]) -> bool:
    start = finding.start or 0
    return any(begin <= start < end for begin, end in taken)
