"""Disease names to diseases: precise, never a guess."""

from __future__ import annotations

import re
from functools import lru_cache

from ddx.adapters.knowledge.words import american, fold

_NUMERALS = "i ii iii iv v vi vii viii ix x xi xii xiii xiv xv xvi xvii xviii xix xx"
_ROMAN = {numeral: str(value) for value, numeral in enumerate(_NUMERALS.split(), 1)}
_NUMBERED = re.compile(r"([ivx]+)([a-h]?)")
_SILENT = {"the", "a", "an", "type", "of", "s"}
ORDERED = {"due", "to", "with", "without", "by", "from", "secondary", "in", "or", "not", "non"}
"""Words that make the order of the others matter."""
_ABBREVIATION = re.compile(r"\s*[(\[][A-Z0-9-]{2,8}[)\]]\s*")


@lru_cache(maxsize=65536)
def name_key(name: str) -> str:
    """Return the form under which two spellings of one disease's name are equal.

    Case, accents, punctuation, British spelling, Roman numerals, 'type' and an abbreviation
    in brackets do not count; nor does the order of words, where none of them joins two parts.

    >>> name_key("Cardiomyopathy, dilated, 1A") == name_key("Dilated cardiomyopathy type IA")
    True
    >>> name_key("Crohn's disease") == name_key("Crohn disease")
    True
    >>> name_key("Anemia due to bleeding") == name_key("Bleeding due to anemia")
    False
    """
    plain = american(fold(_ABBREVIATION.sub(" ", name).replace("\u2019", "'")))
    parts = re.findall(r"[^\W_]+", re.sub(r"'s\b", "", plain))
    kept = [_number(american(part)) for part in parts if part not in _SILENT]
    if not ORDERED.intersection(kept):
        kept.sort()
    return " ".join(kept)


def _number(part: str) -> str:
    found = _NUMBERED.fullmatch(part)
    if found and (value := _ROMAN.get(found[1])):
        return value + found[2]
    return part
