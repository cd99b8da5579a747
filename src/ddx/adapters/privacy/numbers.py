"""Numbers and addresses of the net that lead to a person."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ddx.core.masking import Personal, Place

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+%-]{1,64}@[A-Za-z][\w-]*(?:\.[\w-]+)+")
_PAYMENT = re.compile(r"(?<![\w.+-])[\w.-]{1,64}@(?:ok\w{2,10}|ybl|paytm|upi|ibl|axl|apl)\b")
_URL = re.compile(r"(?i)\b(?:https?://|ftp://|www\.)[^\s<>\"'\])]+[^\s<>\"'\]).,;:!?]")
_PAN = re.compile(r"\b[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]\b")
_AADHAAR = re.compile(r"(?<![\d-])[2-9]\d{3}([ -]?)\d{4}\1\d{4}(?![\d-])")
_LABELLED_AADHAAR = re.compile(
    r"(?i)\baadh?aa?r(?:\s*(?:card|no|number|id|uid))*\.?\s*(?:is\b)?\s*[:#-]?\s*"
    r"((?:[\dX*]{4}[ -]?){2}\d{4})"
)
_LABELLED_PHONE = re.compile(
    r"(?i)\b(?:phone|ph|mobile|mob|cell|tel|telephone|contact|whatsapp|fax)\b\.?"
    r"(?:\s*(?:no|number))?\b\.?\s*(?:is\b)?\s*[:#-]?\s*"
    r"(\+?\(?\d[\d ()-]{5,16}\d)"
)
# A value holds a digit, and further groups only where they are digits: "UHID 12 345 678".
_VALUE = r"((?=[A-Z/-]*\d)[A-Z0-9][A-Z0-9/-]{2,24}(?:[ -]\d{2,6}){0,4})\b"
_RECORD = re.compile(
    r"(?i)\b(?:mrn|uhid|abha|(?:mr|cr|ip|op|ipd|opd|i\.p\.|o\.p\.)\s*(?:no|number|id)"
    r"|(?:hospital|patient|registration|reg|regn|admission|medical record|record|file|policy"
    r"|insurance|passport|voter|ration card|licen[cs]e|employee)\s*(?:no|number|id|card))\b\.?"
    rf"(?:\s*(?:no|number|id)\b\.?)?\s*(?:is\b)?\s*[:#=-]?\s*{_VALUE}"
)
_ABHA = re.compile(r"(?<![\d-])(\d{2}-\d{4}-\d{4}-\d{4})(?![\d-])")

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_DATE = (
    rf"(?:\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{8}}\b"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?(?:\s+of)?[\s/.-]{{1,3}}(?:\d{{1,2}}|{_MONTH})"
    rf"[\s/.,-]{{1,3}}\d{{2,4}}|{_MONTH}\.?\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+\d{{4}})"
)
_BIRTH = re.compile(
    r"(?i)\b(?:d\.?\s?o\.?\s?b\b\.?|date of birth|birth\s?date|birthday|born(?:\s+on)?(?:\s+the)?)"
    rf"\s*(?:is\b|was\b)?\s*[:=-]?\s*({_DATE})"
)


def find(text: str) -> Iterator[Place]:
    """Yield e-mail and web addresses, identity and record numbers, and dates of birth."""
    for pattern, kind in (
        (_EMAIL, Personal.EMAIL),
        (_PAYMENT, Personal.EMAIL),
        (_URL, Personal.URL),
        (_PAN, Personal.PAN),
    ):
        for match in pattern.finditer(text):
            yield Place(match.start(), match.end(), kind)
    for match in _AADHAAR.finditer(text):
        if checks(re.sub(r"\D", "", match[0])):
            yield Place(match.start(), match.end(), Personal.AADHAAR)
    for pattern, kind in (
        (_LABELLED_AADHAAR, Personal.AADHAAR),
        (_RECORD, Personal.RECORD_NUMBER),
        (_ABHA, Personal.RECORD_NUMBER),
        (_BIRTH, Personal.BIRTH_DATE),
    ):
        for match in pattern.finditer(text):
            yield Place(match.start(1), match.end(1), kind)


def labelled_phones(text: str) -> Iterator[Place]:
    """Yield what is called a telephone number, whether it can be one or not."""
    for match in _LABELLED_PHONE.finditer(text):
        yield Place(match.start(1), match.end(1), Personal.PHONE)


def checks(digits: str) -> bool:
    """Say whether the last digit is the check digit of the others, as in an Aadhaar number.

    Source: J. Verhoeff, Error Detecting Decimal Codes, 1969: the group D5 and a permutation.

    >>> checks("234567890124"), checks("234567890125")
    (True, False)
    """
    check = 0
    for place, digit in enumerate(map(int, reversed(digits))):
        check = _product(check, _permuted(digit, place % 8))
    return check == 0


def _product(a: int, b: int) -> int:
    """Multiply in the dihedral group D5."""
    if a < 5:
        return (a + b) % 5 if b < 5 else (a + b - 5) % 5 + 5
    return (a - 5 - b) % 5 + 5 if b < 5 else (a - b) % 5


def _permuted(digit: int, times: int) -> int:
    for _ in range(times):
        digit = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[digit]
    return digit
