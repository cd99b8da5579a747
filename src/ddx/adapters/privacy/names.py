"""Names of people, where the words beside them say that they are names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ddx.core.masking import Personal, Place

_UPPER, _LOWER = "A-ZÀ-ÖØ-Þ", "a-zß-öø-ÿ"
_WORD = rf"(?:[{_UPPER}]['’])?[{_UPPER}][{_LOWER}]+(?:-[{_UPPER}][{_LOWER}]+)?"
# An initial is followed by no word that would end the sentence: "Dr. A. Rao".
_PART = rf"(?:{_WORD}|[{_UPPER}]\.?(?![{_LOWER}\w]))"
_NAME = rf"{_PART}(?:\s{{1,2}}(?:(?:bin|de|da|van|al|ul)\s)?{_PART}){{0,3}}"
_CAPITALS = rf"[{_UPPER}]{{2,}}(?:\s[{_UPPER}]{{2,}}){{0,2}}"
_TITLE = r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Shri|Shree|Sri|Smt|Kum|Kumari|Master|Sister|Nurse)\b\.?"
_NO_NAME = r"(?!Lanka|Health|Patient\b|No\b|Number\b)"
_OF = r"(?i:\b(?:son|daughter|wife|husband|mother|father|baby)\s+of|\bb/o)"

_RULES = (
    # In capitals, MR, MS and DR are mitral regurgitation, multiple sclerosis and retinopathy,
    # unless they carry a full stop.
    re.compile(rf"\b{_TITLE}\s{{0,2}}{_NO_NAME}({_NAME}|{_CAPITALS})"),
    re.compile(rf"\b(?:MRS|SMT|SHRI|PROF|(?:MR|MS|DR)(?=\.))\b\.?\s{{0,2}}({_CAPITALS}|{_NAME})"),
    re.compile(rf"{_OF}\s+(?:{_TITLE}\s*)?({_NAME}|{_CAPITALS})"),
    re.compile(rf"(?i:\bname\s+is)\s+(?:{_TITLE}\s*)?({_NAME}|{_CAPITALS})"),
    # A field of a form: whatever stands there up to the next field, in any letters.
    re.compile(
        r"(?im)(?:^\s*|[.;,|]\s*|\b(?:patient(?:['’]s)?|pt\.?|full|first|last|mother(?:['’]s)?"
        r"|father(?:['’]s)?|husband(?:['’]s)?|attendant)\s+)name\s*[:=]\s*"
        r"([^\n,;.:()|\[]{2,60}?)(?=\s*(?:[,;.:|(\[\n]|$|\b(?:age|aged|sex|dob|mrn|uhid)\b))"
    ),
)
# What follows a name that was found: "Mr Rao s/o Mohan Rao".
_RELATION = re.compile(rf",?\s+[SDWsdw]/[Oo]\.?\s+(?:{_TITLE}\s*)?({_NAME}|{_CAPITALS})")
_EPONYM = (
    r"(?!(?:['’]s)?\s+(?:disease|syndrome|sign|test|phenomenon|disorder|palsy|law|criteria"
    r"|tumou?r|lymphoma|thyroiditis|score|murmur|triad|rule|ulcer|fracture|scale))"
)
_ORDINARY = frozenset({"Baby", "Grace", "Hope", "April", "June", "Mark", "Patient", "Rose", "Will"})
_LEAST_LETTERS = 4


def find(text: str) -> Iterator[Place]:
    """Yield names that are introduced as such, and each further mention of them."""
    found: list[str] = []
    for rule in _RULES:
        for match in rule.finditer(text):
            yield _place(match)
            found.append(match[1])
            relation = _RELATION.match(text, match.end(1))
            if relation is not None:
                yield _place(relation)
                found.append(relation[1])
    yield from _mentions(text, found)


def _mentions(text: str, found: list[str]) -> Iterator[Place]:
    """Yield where parts of found names stand again: "Mr Anil Rao … Anil says"."""
    words = {word for name in found for word in re.findall(r"[^\W\d_]+", name)}
    known = sorted(
        word
        for word in words
        if len(word) >= _LEAST_LETTERS
        and word[0].isupper()
        and word not in _ORDINARY
        # "Mr Rao Fever since …": what also stands in small letters is an ordinary word.
        and not re.search(rf"\b{re.escape(word.lower())}\b", text)
    )
    if not known:
        return
    one = "|".join(map(re.escape, known))
    for match in re.finditer(rf"\b((?:{one})(?:\s(?:{one}))*)\b{_EPONYM}", text):
        yield _place(match)


def _place(match: re.Match[str]) -> Place:
    return Place(match.start(1), match.end(1), Personal.NAME)
