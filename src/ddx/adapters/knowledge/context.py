"""Which stretches of a text speak of what the patient does not have, or of somebody else.

After NegEx (Chapman et al., 2001) and ConText (Harkema et al., 2009): a trigger opens a
scope, and a new clause ends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Said(Enum):
    """Of whom, or of what, a stretch speaks."""

    ABSENT = "absent"
    RELATIVE = "relative"
    POSSIBLE = "possible"
    """A risk, an advice or a plan."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A stretch [start, end) of the text."""

    said: Said
    start: int
    end: int


_NOT_YET = (
    r"no (?:longer|improvement|relief|change|response|further|better)|not only|"
    r"not (?:improv\w+|reliev\w+|respond\w*|resolv\w+|chang\w+)|without (?:relief|improvement)"
)
_BEFORE = (
    r"(?:has |have |had |does |did |do |is |was |are |were )?(?:not|never)"
    r"(?: (?:had|have|has|been|any|having|experienced?|report(?:ed)?|notic(?:ed|e)|"
    r"complain(?:ed)? of|show(?:n|ed)?|appear|ever))*|"
    r"no|nor|neither|none|without|denie[sd]|deny|denying|negative for|free of|free from|"
    r"absence of|absent|lack of|lacks|lacking|rule[sd]? out|excluded|unremarkable for"
)
_AFTER = (
    r"(?:(?:is|was|has been)\s+)?(?:absent|negative|ruled out|excluded|denied|resolved)|"
    r"(?:is|was|has been)\s+not (?:seen|present|noted|observed|detected|found)|"
    r"not (?:seen|present|noted|observed|detected|found)"
)
_ALL_AFTER = (
    r"(?:are|were|have been)\s+(?:all )?(?:absent|negative|ruled out|excluded|denied|"
    r"not (?:seen|present|noted|observed|detected|found))"
)
_CLAUSE = (
    r"but|however|although|though|except|apart from|aside from|besides|yet|because|due to|"
    r"which|who|whose|until|has|have|had|is|was|are|were|presents?|presented|presenting|"
    r"complain\w*|reports?|reported|develops?|developed|notes?|noted|shows?|showed|"
    r"reveal\w*|demonstrat\w+|experienc\w+|started|began|since|when|while|then"
)
_RELATIVE = (
    r"family (?:medical )?history|family hx|fhx|(?:maternal|paternal)\b[\w -]{0,20}?|mother|"
    r"father|mom|dad|sister|brother|sibling|aunt|uncle|cousin|grand(?:mother|father|parent)|"
    r"nephew|niece|husband|wife|parent|relative|roommate|classmate|coworker"
)
_REPORTS = (
    r"(?:[\w,]+ ){0,3}?(?:say|said|state|report|describe|note|notice|deny|denie|explain|tell|"
    r"told|mention|worr|concern|bring|brought|think|believe|observe|recall|complain|find|"
    r"found|call|took|take|accompan|give|gave|claim|also say)"
)
_LISTED = re.compile(
    r"\b(?:absent|negative|denies|denied|excluded|not present|not found)\s*:", re.IGNORECASE
)
_TRIGGER = re.compile(
    r"(?P<hard>;|[!?]|\.(?=\s|$)|\n\s*\n|\n\s*[-*\u2022]|\n(?=\s*[A-Z]))"
    r"|(?P<comma>,)"
    # One look at each word's first letter, before all the words that it could be.
    rf"|\b(?=[a-z])(?:(?P<plain>(?:{_NOT_YET})\b)"
    rf"|(?P<all_after>(?:{_ALL_AFTER})\b)"
    rf"|(?P<after>(?:{_AFTER})\b(?=\s*[.,;)\n]|\s+(?:and|but|on|in|at)\b|\s*$))"
    rf"|(?P<before>(?:{_BEFORE})\b)"
    rf"|(?P<relative>(?:{_RELATIVE})s?\b)"
    rf"|(?P<patient>(?:the patient|patient|he|she|proband|infant|boy|girl)\b)"
    rf"|(?P<possible>(?:risk (?:of|for|factors?)|to rule out|return if|prophylaxis|"
    rf"allerg(?:y|ic) to|vaccin\w+|immuniz\w+ against|screen\w* for)\b)"
    rf"|(?P<clause>(?:{_CLAUSE})\b))"
    rf"|(?P<short>n['\u2019]t (?:have|had|any|report|notice)\b)",
    re.IGNORECASE,
)
_COURSE = re.compile(
    r"(?![^,;.\n]*\b(?:or|nor|and)\b)[^,;.\n]*"
    r"\b(?:for (?:the (?:past|last) )?(?:\d+|a|an|one|two|three|four|five|six|seven|several|many)"
    r" (?:hour|day|week|month|year)s?|since|present|started|began|\d+ ?(?:days?|weeks?|/7)\b)",
    re.IGNORECASE,
)
"""What has lasted is there: 'no fever, cough for 3 days' does not deny the cough."""
_SUBJECT = re.compile(r"(?:old|by|with|from|to|per|and|for|in)(?: (?:his|her|their|the|a))?\s*$")
_REPORTS_AFTER = re.compile(rf"\s*(?:{_REPORTS})", re.IGNORECASE)
_NOT_RELATIVE_AFTER = re.compile(r"\s*(?:of (?:two|three|four|\d)|[-\u2013]?\s*in[- ]law)")


def scopes(text: str) -> list[Scope]:
    """Return the stretches that do not speak of what the patient has; they may overlap.

    >>> [(s.said.value, text[s.start:s.end]) for text in ["No fever or rash, but a cough."]
    ...  for s in scopes(text)]
    [('absent', ' fever or rash, ')]
    """
    found = list(_listed(text))
    open_: dict[Said, int] = {}
    clause = comma = 0
    for trigger in _TRIGGER.finditer(text):
        at, end, kind = trigger.start(), trigger.end(), trigger.lastgroup
        if kind == "all_after":
            found.append(Scope(Said.ABSENT, clause, at))
        elif kind == "after":
            found.append(Scope(Said.ABSENT, max(clause, comma), at))
        closed = [said for said in _closes(kind) if said in open_]
        if kind == "comma" and Said.ABSENT in open_ and _COURSE.match(text, end):
            closed.append(Said.ABSENT)
        found += [Scope(said, open_.pop(said), at) for said in closed]
        opened = _opens(kind, text, trigger)
        if opened is not None:
            open_.setdefault(opened, end)
        if kind in {"hard", "clause", "before", "short", "after", "all_after"}:
            clause = comma = end
        elif kind == "comma":
            comma = end
    found += [Scope(said, start, len(text)) for said, start in open_.items()]
    return found


def _closes(kind: str | None) -> tuple[Said, ...]:
    match kind:
        case "hard":
            return (Said.ABSENT, Said.RELATIVE, Said.POSSIBLE)
        case "clause" | "after" | "all_after":
            return (Said.ABSENT, Said.POSSIBLE)
        case "patient":
            return (Said.RELATIVE,)
        case "comma":
            return (Said.POSSIBLE,)
    return ()


def _opens(kind: str | None, text: str, trigger: re.Match[str]) -> Said | None:
    match kind:
        case "before" | "short":
            return Said.ABSENT
        case "possible":
            return Said.POSSIBLE
        case "relative" if _is_subject(text, trigger):
            return Said.RELATIVE
    return None


def _is_subject(text: str, trigger: re.Match[str]) -> bool:
    """Whether a relative is spoken of, rather than one who speaks or is the patient."""
    if trigger.group().lower().startswith(("family", "fhx")):
        return True
    if _SUBJECT.search(text[max(0, trigger.start() - 20) : trigger.start()].lower()):
        return False
    after = text[trigger.end() : trigger.end() + 60]
    return not (_REPORTS_AFTER.match(after) or _NOT_RELATIVE_AFTER.match(after))


def _listed(text: str) -> Iterator[Scope]:
    """'Absent: a; b; c.': after a colon the list goes on to the full stop."""
    for heading in _LISTED.finditer(text):
        stop = re.compile(r"\.(?=\s|$)|\n").search(text, heading.end())
        yield Scope(Said.ABSENT, heading.end(), stop.start() if stop else len(text))
