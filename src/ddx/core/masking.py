"""What identifies a person, taken out of a text: places in, the text with labels out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from ddx.core.record import Request

Mask = Callable[[str], tuple[str, Mapping[str, int]]]
"""A text to the masked text, and how often each kind was masked in it."""

DOCUMENT = "phenopacket"
"""Counted where a phenopacket's document was left out."""


class Personal(StrEnum):
    """The kinds of what identifies a person. Its label in the text is `[NAME]` and so on."""

    NAME = "name"
    PHONE = "phone"
    EMAIL = "email"
    URL = "url"
    AADHAAR = "aadhaar"
    PAN = "pan"
    RECORD_NUMBER = "record_number"
    BIRTH_DATE = "birth_date"
    ADDRESS = "address"

    @property
    def label(self) -> str:
        """What stands in the text instead.

        >>> Personal.BIRTH_DATE.label
        '[BIRTH DATE]'
        """
        return f"[{self.value.upper().replace('_', ' ')}]"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """`text[start:end]` identifies a person."""

    start: int
    end: int
    kind: Personal


def masked(text: str, places: Iterable[Place]) -> tuple[str, Mapping[str, int]]:
    """Return the text with a label at each place, and the number of labels of each kind.

    Places that overlap become one, of the longest one's kind, so that no rest stays.

    >>> masked("Mr Rao, 45", [Place(3, 6, Personal.NAME)])
    ('Mr [NAME], 45', {'name': 1})
    """
    parts: list[str] = []
    counts: Counter[str] = Counter()
    end = 0
    for place in _apart(places):
        parts += text[end : place.start], place.kind.label
        counts[place.kind.value] += 1
        end = place.end
    return "".join([*parts, text[end:]]), dict(sorted(counts.items()))


def masked_request(request: Request, mask: Mask) -> tuple[Request, Mapping[str, int]]:
    """Return the request as it may be kept, and what was masked.

    A phenopacket's document is left out whole: names and dates may stand in any of its fields,
    and the findings that were read from it are what engines see.
    """
    case, counts = mask(request.case)
    if request.phenopacket is not None:
        counts = {**counts, DOCUMENT: 1}
    return replace(request, case=case, phenopacket=None), counts


def _apart(places: Iterable[Place]) -> list[Place]:
    """Return places that do not overlap, in order."""
    apart: list[Place] = []
    for place in sorted(places):
        last = apart[-1] if apart else None
        if last is None or place.start >= last.end:
            apart.append(place)
            continue
        longest = max(last, place, key=lambda one: one.end - one.start)
        apart[-1] = Place(last.start, max(last.end, place.end), longest.kind)
    return apart
