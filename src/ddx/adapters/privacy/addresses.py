"""Postal addresses. A town, a district or a country alone is no address: diseases have regions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ddx.core.masking import Personal, Place

_STREET = (
    r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Nagar|Marg|Colony|Layout|Cross|Chowk|Gali|Bazaar"
    r"|Apartments?|Drive|Boulevard|Society|Enclave|Vihar|Puram|Terrace|Close|Square)"
)
_PIN = r"[1-9]\d{2}\s?\d{3}"
# What an address goes on with: ", Shivaji Nagar, Pune - 411005".
_MORE = rf"(?:,\s*(?:[A-Z0-9][\w.'/-]*)(?:\s[A-Z][\w.'-]*){{0,3}}){{0,4}}(?:\s*[-–,]?\s*{_PIN}\b)?"

_RULES = (
    # A field of a form, up to the end of its line or sentence.
    re.compile(
        r"(?im)\b(?:(?:home|postal|permanent|current|residential)\s+)?(?:address|residence)"
        r"\s*(?:is\b|[:=-])\s*([^\n;\[]{5,160}?)"
        r"(?=\s*(?:[;\n\[]|$|\.\s|\.$|,?\s*\b(?:phone|ph|mobile|mob|tel|contact|age|mrn)\b))"
    ),
    re.compile(
        r"\b((?:(?i:house|flat|door|plot|h\.|d\.)\s?(?i:no)?\.?\s*#?\d[\w/-]*)"
        rf"(?:,?\s*[A-Z0-9][\w.'/-]*(?:\s[A-Z][\w.'-]*){{0,3}})?{_MORE})"
    ),
    re.compile(
        rf"(?<![\w/.])(\d{{1,5}}[A-Za-z]?(?:/\d{{1,4}})?,?\s+(?:[A-Z][\w.'-]*\s+){{1,4}}"
        rf"{_STREET}\b\.?{_MORE})"
    ),
    re.compile(
        rf"(?i)\b(?:pin\s?code|pin|postal code|zip(?: code)?)\s*[:#-]?\s*({_PIN}|\d{{5}})\b"
    ),
)


def find(text: str) -> Iterator[Place]:
    """Yield addresses, and postal codes that are called so."""
    for rule in _RULES:
        for match in rule.finditer(text):
            yield Place(match.start(1), match.end(1), Personal.ADDRESS)
