"""Sex and age of the patient, from the text."""

from __future__ import annotations

import re

_WORDS = "one two three four five six seven eight nine ten eleven twelve"
_NUMBERS = {word: number for number, word in enumerate(_WORDS.split(), 1)}
_UNITS = {"y": 1.0, "m": 12.0, "w": 52.18, "d": 365.25}
_AGE = re.compile(
    r"\b(?P<n>\d{1,3}(?:\.\d+)?|" + "|".join(_NUMBERS) + r")[\s-]*"
    r"(?P<unit>years?|yrs?|months?|mos?|weeks?|wks?|days?|y|m|w|d)[\s-]*(?:old|of age|/?o\b)",
    re.IGNORECASE,
)
_AGE_SEX = re.compile(r"\b(\d{1,3})\s?(?:y(?:rs?)?)?[/ ]?([MF])\b")
_AGED = re.compile(
    r"\b(?:aged|age)\s*:?\s*(\d{1,3})\b(?!\s*(?:months|weeks|days|%))", re.IGNORECASE
)
_MALE = re.compile(r"\b(?:man|boy|male|gentleman|he|his|him)\b", re.IGNORECASE)
_FEMALE = re.compile(r"\b(?:woman|girl|female|lady|she|her|pregnant)\b", re.IGNORECASE)
_NAMED = re.compile(
    r"\b(?:(?P<male>man|boy|male|gentleman)|(?P<female>woman|girl|female|lady))\b",
    re.IGNORECASE,
)
_NEWBORN = re.compile(r"\b(?:newborn|neonate)\b", re.IGNORECASE)
_HEAD_CHARS = 300
"""The patient is introduced first; later ages and sexes are of events and relatives."""


def age_of(text: str) -> float | None:
    """Return the patient's age in years, None where the text does not say it.

    >>> age_of("A 6-month-old girl"), age_of("45M with cough"), age_of("An adult")
    (0.5, 45.0, None)
    """
    if found := _AGE.search(text):
        number = _NUMBERS.get(found["n"].lower()) or float(found["n"])
        years = number / _UNITS[found["unit"][0].lower()]
        return years if years <= 120 else None
    if (found := _AGE_SEX.search(text)) or (found := _AGED.search(text)):
        years = float(found[1])
        return years if years <= 120 else None
    return 0.0 if _NEWBORN.search(text[:_HEAD_CHARS]) else None


def sex_of(text: str) -> str | None:
    """Return MALE, FEMALE, or None where the text does not say it.

    >>> sex_of("A 30-year-old woman and her brother"), sex_of("The patient"), sex_of("45M")
    ('FEMALE', None, 'MALE')
    """
    head = text[:_HEAD_CHARS]
    if named := _NAMED.search(head):
        return "MALE" if named["male"] else "FEMALE"
    if short := _AGE_SEX.search(head):
        return {"M": "MALE", "F": "FEMALE"}[short[2]]
    male, female = len(_MALE.findall(text)), len(_FEMALE.findall(text))
    if male == female:
        return None
    return "MALE" if male > female else "FEMALE"
