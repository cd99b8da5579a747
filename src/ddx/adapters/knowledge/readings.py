"""A diagnosis as people and models write it, to the names that it may be meant by."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ddx.adapters.knowledge.names import ORDERED
from ddx.adapters.knowledge.words import stem

_BRACKETS = re.compile(r"[(\[]([^()\[\]]*)[)\]]")
_HEDGE = re.compile(
    r"^(?:(?:most |very )?(?:likely|probable|possible|suspected|presumed|presumptive)|"
    r"(?:a |an )?(?:diagnosis|case) of|early[- ]stage|classic(?:al)?|typical)\s+",
    re.IGNORECASE,
)
_ALIKE = {
    "disorder": "disease",
    "illness": "disease",
    "condition": "disease",
    "intoxication": "poison",
    "toxicity": "poison",
    "myelogenous": "myeloid",
    "polyglandular": "polyendocrine",
    "hemorrhage": "bleed",
    "hemorrhagic": "bleed",
    "neoplasm": "tumor",
    "calculus": "stone",
    "calculi": "stone",
    "deficit": "deficiency",
    "headach": "headache",
}
"""Words that mean one thing in the name of a disease."""


def readings(text: str) -> Iterator[str]:
    """Yield the names that a diagnosis may be read as, the most literal first.

    >>> list(readings("Suspected nursemaid's elbow (radial head subluxation)."))
    ... # doctest: +NORMALIZE_WHITESPACE
    ["nursemaid's elbow (radial head subluxation)", "nursemaid's elbow",
     'radial head subluxation']
    """
    whole = _HEDGE.sub("", text.strip().rstrip(".;,: "))
    said = [whole]
    outside = " ".join(_BRACKETS.sub(" ", whole).split())
    if outside != whole:
        said += [outside, *_BRACKETS.findall(whole)]
    yield from dict.fromkeys(one for one in said if one)


def loose_key(key: str) -> str:
    """Return the form of a `name_key` in which inflections and words for one thing are equal.

    >>> loose_key("headaches migraine"), loose_key("disorder wilson")
    ('headache migraine', 'disease wilson')
    """
    parts = [_ALIKE.get(part, _ALIKE.get(base := stem(part), base)) for part in key.split()]
    return " ".join(parts if ORDERED.intersection(parts) else sorted(parts))
