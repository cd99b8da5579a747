"""Answers to known questions, in a text that holds questions and answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ddx.adapters.knowledge.case import Finding

_BEGINS = re.compile(r"(?:\A|(?<=[.;\n]))\s*(?=\S)")
_ENDS = re.compile(r"[?:.]")
_ANSWER_ENDS = re.compile(r"\.(?=\s|\Z)|\n|\Z")
_NO = re.compile(r"\s*(?:no|n|none|not at all)\s*\Z", re.IGNORECASE)
_LONGEST = 400
"""Characters of a question."""


def answers(
    asked: Mapping[str, str], rows: Mapping[str, int], text: str
) -> Iterator[tuple[Finding, bool]]:
    """Yield each finding that was asked for, and whether it is there.

    `asked` is a question, or a statement, without its last sign -> the id of the finding. Its
    place is that of question and answer. Where one begins, the longest is taken.

    >>> list(answers({"Have you a cough": "X:1"}, {"X:1": 7}, "31 years. Have you a cough? no."))
    [(Finding(term=7, start=10, end=30), False)]
    """
    if not asked:
        return
    done = 0
    for begin in _BEGINS.finditer(text):
        start = begin.end()
        if start < done:
            continue
        window = text[start : start + _LONGEST]
        known = [end.start() for end in _ENDS.finditer(window) if window[: end.start()] in asked]
        if not known:
            continue
        end = start + known[-1]
        id, done = asked[text[start:end]], end
        present = True
        if text[end] != ".":
            finish = _ANSWER_ENDS.search(text, end + 1)
            done = finish.start() if finish else len(text)
            present = not _NO.match(text[end + 1 : done])
        if id in rows:
            yield Finding(term=rows[id], start=start, end=done), present
