"""Numbers that are findings: temperature, blood pressure, pulse, breathing, oxygen."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ddx.adapters.knowledge.labs import labs
from ddx.adapters.knowledge.measured import Measured

FEVER, HYPOTHERMIA = "HP:0001945", "HP:0002045"
HYPERTENSION, HYPOTENSION = "HP:0000822", "HP:0002615"
TACHYCARDIA, BRADYCARDIA = "HP:0001649", "HP:0001662"
TACHYPNEA, HYPOXEMIA = "HP:0002789", "HP:0012418"


_IS = (
    r"\s*(?:\([^)]{1,20}\))?\s*(?:is|was|are|were|of|at|:|=|,)?\s*"
    r"(?:measured (?:at|as) |up to |to )?"
)
_TEMPERATURE = re.compile(
    rf"(?:(?i:\b(?:temperature|temp|fever|t|tmax)){_IS})?"
    r"\b(\d{2,3}(?:\.\d+)?)\s*(?:°|º|degrees|deg)?\s*"
    rf"([CF\u2103\u2109])(?:elsius|ahrenheit)?(?!\w)",
)
_TEMPERATURE_BARE = re.compile(
    rf"\b(?:temperature|temp){_IS}((?:3[3-9]|4[0-3]|9[4-9]|10[0-8])(?:\.\d+)?+)\b(?!\s*[°ºCF/\u2103\u2109])",
    re.IGNORECASE,
)
_PRESSURE = re.compile(
    rf"\b(?:blood pressure|bp){_IS}(\d{{2,3}})\s*/\s*(\d{{2,3}})(?:\s*mm\s*hg)?", re.IGNORECASE
)
_PULSE = re.compile(
    rf"\b(?:heart rate|pulse(?: rate)?|hr){_IS}(\d{{2,3}})(?:\s*(?:bpm|beats|/\s*min))?",
    re.IGNORECASE,
)
_BREATHS = re.compile(
    rf"\b(?:respiratory rate|respirations?|rr){_IS}(\d{{2}})(?:\s*(?:breaths|/\s*min))?",
    re.IGNORECASE,
)
_OXYGEN = re.compile(
    r"\b(?:spo2|oxygen saturation|saturation|saturating|o2 sat\w*|sats?|sao2|pulse oximetry)"
    rf"{_IS}(\d{{2,3}})\s*%",
    re.IGNORECASE,
)
_ADULT_YEARS = 13.0
"""Below it, normal pulse, pressure and breathing depend on the exact age: left alone."""


def measures(text: str, age_years: float | None) -> Iterator[Measured]:
    """Yield what the numbers of a case say, for an adult where the age is not known.

    >>> [(m.term, m.present) for m in measures("T 39.2 C, BP 120/80 mmHg.", 40)]
    [('HP:0001945', True), ('HP:0000822', False)]
    """
    yield from _temperatures(text)
    for found in _OXYGEN.finditer(text):
        value = int(found[1])
        if 40 <= value <= 100:
            yield Measured(HYPOXEMIA, value < 93, *found.span())
    if age_years is None or age_years >= _ADULT_YEARS:
        yield from _adult(text)
        yield from labs(text)
    else:
        yield from _child(text, age_years)


def _temperatures(text: str) -> Iterator[Measured]:
    for found in _TEMPERATURE.finditer(text):
        yield from _temperature(_celsius(float(found[1]), found[2]), found)
    for found in _TEMPERATURE_BARE.finditer(text):
        value = float(found[1])
        yield from _temperature(_celsius(value, "F" if value > 60 else "C"), found)


def _temperature(celsius: float, found: re.Match[str]) -> Iterator[Measured]:
    if not 25 <= celsius <= 44:
        return
    if celsius < 35:
        yield Measured(HYPOTHERMIA, True, *found.span())
    elif not 37.5 <= celsius < 38:
        yield Measured(FEVER, celsius >= 38, *found.span())


def _celsius(value: float, unit: str) -> float:
    return value if unit in "C\u2103" else (value - 32) / 1.8


def _adult(text: str) -> Iterator[Measured]:
    for found in _PRESSURE.finditer(text):
        systolic, diastolic = int(found[1]), int(found[2])
        if systolic < 90:
            yield Measured(HYPOTENSION, True, *found.span())
        else:
            yield Measured(HYPERTENSION, systolic >= 140 or diastolic >= 90, *found.span())
    for found in _PULSE.finditer(text):
        value = int(found[1])
        if value > 100:
            yield Measured(TACHYCARDIA, True, *found.span())
        elif 20 <= value < 50:
            yield Measured(BRADYCARDIA, True, *found.span())
    for found in _BREATHS.finditer(text):
        if 20 < int(found[1]) < 80:
            yield Measured(TACHYPNEA, True, *found.span())


def _child(text: str, age_years: float) -> Iterator[Measured]:
    """Breathing and pulse that are fast at any hour of a child's day.

    The limits of breathing are those of the WHO's care of the sick child: 60 a minute below two
    months of age, 50 below one year, 40 from then on.
    """
    breaths = 60 if age_years < 2 / 12 else 50 if age_years < 1 else 40
    beats = 180 if age_years < 1 else 150 if age_years < 6 else 130
    for found in _BREATHS.finditer(text):
        if breaths <= int(found[1]) <= 99:
            yield Measured(TACHYPNEA, True, *found.span())
    for found in _PULSE.finditer(text):
        if beats < int(found[1]) < 300:
            yield Measured(TACHYCARDIA, True, *found.span())
