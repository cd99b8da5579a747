"""Words of a text with their places, and the form under which two spellings are one word."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

_WORD = re.compile(r"[^\W_]+")
_LETTERED = re.compile(
    r"\b(?:vitamin|hepatitis|type|group|factor|influenza|protein|class|stage|grade)[ -]\Z",
    re.IGNORECASE,
)
"""Before a capital A that is a name, not an article."""
_SPELLING = (
    ("haem", "hem"),
    ("aem", "em"),
    ("oed", "ed"),
    ("oes", "es"),
    ("oen", "en"),
    ("paed", "ped"),
    ("faec", "fec"),
    ("caec", "cec"),
    ("gynaec", "gynec"),
    ("rrhoe", "rrhe"),
    ("pnoe", "pne"),
    ("noea", "nea"),
    ("leuco", "leuko"),
    ("tumour", "tumor"),
    ("colour", "color"),
    ("odour", "odor"),
    ("behaviour", "behavior"),
    ("labour", "labor"),
    ("fibre", "fiber"),
    ("litre", "liter"),
    ("sulph", "sulf"),
    ("isation", "ization"),
    ("ised", "ized"),
    ("ysed", "yzed"),
)
"""British to American, as parts of words; applied to both sides of every comparison."""

_SAME = {
    "abdomen": "abdominal",
    "belly": "abdominal",
    "stomach": "abdominal",
    "tummy": "abdominal",
    "ache": "pain",
    "aching": "pain",
    "achy": "pain",
    "painful": "pain",
    "sore": "pain",
    "soreness": "pain",
    "swelling": "swell",
    "swollen": "swell",
    "heart": "cardiac",
    "kidney": "renal",
    "liver": "hepatic",
    "lung": "pulmonary",
    "muscular": "muscle",
    "itchy": "itch",
    "itching": "itch",
    "bled": "bleed",
    "feet": "foot",
    "teeth": "tooth",
    "dental": "tooth",
    "weak": "weakness",
    "stiff": "stiffness",
    "dizzy": "dizziness",
    "drowsy": "drowsiness",
    "tired": "tiredness",
    "enlargement": "enlarge",
    "elevation": "elevate",
    "raised": "elevate",
    "increase": "elevate",
    "increased": "elevate",
    "increases": "elevate",
    "increasing": "elevate",
    "elevated": "elevate",
    "raise": "elevate",
    "rais": "elevate",
    "high": "elevate",
    "reduced": "decrease",
    "decreased": "decrease",
    "decreasing": "decrease",
    "reduction": "decrease",
    "low": "decrease",
    "diminished": "decrease",
    "lowered": "decrease",
    "impairment": "impair",
    "urinary": "urine",
    "abnormality": "abnormal",
    "anomaly": "abnormal",
    "anomalies": "abnormal",
    "abnormally": "abnormal",
    "rashes": "rash",
    "legs": "leg",
    "lost": "loss",
    "delay": "delay",
    "blood": "blood",
    "vomitus": "vomit",
    "emesis": "vomit",
    "nauseated": "nausea",
    "nauseous": "nausea",
    "feverish": "fever",
    "febrile": "fever",
    "pyrexia": "fever",
    "breathlessness": "dyspnea",
    "breathless": "dyspnea",
}


class Word(NamedTuple):
    """One word of a text."""

    raw: str
    """As it stands, `text[start:end]`."""
    stem: str
    start: int
    end: int


def words(text: str) -> list[Word]:
    """Cut a text into words. Hyphens, quotation marks and stops part words.

    >>> [(w.stem, w.start, w.end) for w in words("Haematuria, kidneys")]
    [('hematuria', 0, 10), ('renal', 12, 19)]
    """
    found = []
    for match in _WORD.finditer(text):
        raw = match.group()
        # "patient's" is the word "patient": the letter alone says nothing.
        if raw == "s" and match.start() and text[match.start() - 1] in "'\u2019":
            continue
        # "Vitamin A" is not "vitamin": the letter is no article.
        letter = raw == "A" and _LETTERED.search(text, 0, match.start()) is not None
        stemmed = "letter a" if letter else stem(raw)
        found.append(Word(raw, stemmed, match.start(), match.end()))
    return found


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """Return the form under which inflections and spellings of a word are one.

    Light on purpose: it is better to miss an inflection than to join two words.

    >>> [stem(w) for w in ("biopsies", "Vomiting", "vomits", "tumours", "diabetes", "pelvis")]
    ['biopsy', 'vomit', 'vomit', 'tumor', 'diabete', 'pelvis']
    >>> {stem(w) for w in ("raised", "elevated", "increased", "high", "elevation")}
    {'elevate'}
    """
    folded = fold(word)
    plain = american(folded)
    base = _without_ending(plain)
    # As written first: "raised" is no British spelling.
    return _SAME.get(folded) or _SAME.get(plain) or _SAME.get(base, base)


def fold(text: str) -> str:
    """Lower case, without accents."""
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFKD", text)
    return "".join(c for c in parts if not unicodedata.combining(c)).lower()


def american(word: str) -> str:
    """Spell a lower-case word the American way.

    >>> american("oedema"), american("anaemia"), american("diarrhoea")
    ('edema', 'anemia', 'diarrhea')
    """
    if len(word) > 4:
        for british, ours in _SPELLING:
            if british in word:
                word = word.replace(british, ours)
    return word


def _without_ending(word: str) -> str:
    if len(word) <= 3 or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        base = word.removesuffix(ending)
        if base != word and len(base) >= 4 and re.search("[aeiouy]", base):
            # "dropped" and "dropping" are "drop".
            return base[:-1] if base[-1] == base[-2] and base[-1] not in "ls" else base
    return word
