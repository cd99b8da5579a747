"""Laboratory values that are findings, in the units in which case texts give them.

Limits are those beyond which most laboratories would mark a value, a little wider: a value at
the edge is no finding. Values of children and of pregnancy differ: only adults are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ddx.adapters.knowledge.measured import Measured

_LINK = (
    r"(?:\s*\((?:[A-Za-z-]{1,12})\))?(?:\s*(?:levels?|counts?|concentrations?|values?|activity))?"
    r"\s*(?:,|:|=|-|is|was|of|at|are)?\s*"
)
_NUMBER = r"(?P<value>\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?)"


@dataclass(frozen=True, slots=True)
class _Lab:
    """One value: how it is named, its unit, and what lies beyond its limits."""

    names: str
    unit: str
    low: tuple[float, str] | None = None
    """Below it the finding of this HPO id is present."""
    high: tuple[float, str] | None = None
    """Above it."""

    def pattern(self) -> re.Pattern[str]:
        return re.compile(rf"\b(?:{self.names}){_LINK}{_NUMBER}\s*(?:{self.unit})", re.IGNORECASE)


_MMOL = r"m(?:Eq|mol)\s*/\s*L"
_MICRO = r"(?:\u03bc|\u00b5|u|mc)"
_PER_UL = (
    r"(?:cells\s*)?(?:/|per\s*)\s*"
    rf"(?:mm\s*(?:3|\u00b3|\^3)|cu(?:bic)?\s*mm|{_MICRO}L)"
)
_THOUSANDS = (
    r"(?:x|\u00d7|\*)\s*10\s*(?:\^|\*)?\s*(?:3|9|\u00b3|\u2079)\s*/\s*"
    rf"(?:{_MICRO}|m)?(?:L|m)"
)
_MG_DL, _G_DL, _U_L = r"mg\s*/\s*dL", r"g\s*/\s*dL", r"(?:I?U|units)\s*/\s*L"
_WHITE = r"(?:total )?(?:leu[ck]ocytes?|white (?:blood )?cells?|wbc)(?: counts?)?"

_LABS = (
    _Lab(r"ha?emoglobin|hgb|hb", _G_DL, (11.5, "HP:0001903"), (18.0, "HP:0001901")),
    _Lab(_WHITE, _PER_UL, (3800, "HP:0001882"), (11500, "HP:0001974")),
    _Lab(_WHITE, _THOUSANDS, (3.8, "HP:0001882"), (11.5, "HP:0001974")),
    _Lab(r"platelets?(?: counts?)?", _PER_UL, (140000, "HP:0001873"), (460000, "HP:0001894")),
    _Lab(r"platelets?(?: counts?)?", _THOUSANDS, (140, "HP:0001873"), (460, "HP:0001894")),
    _Lab(
        r"mean corpuscular volume|mcv",
        r"fL|\u03bcm|\u00b5m",
        (79, "HP:0025066"),
        (101, "HP:0005518"),
    ),
    _Lab(
        r"(?:serum |blood |plasma )?sodium|na\+?", _MMOL, (134, "HP:0002902"), (146, "HP:0003228")
    ),
    _Lab(r"(?:serum |blood )?potassium|k\+?", _MMOL, (3.4, "HP:0002900"), (5.3, "HP:0002153")),
    _Lab(r"(?:serum |total )?calcium|ca2?\+*", _MG_DL, (8.3, "HP:0002901"), (10.6, "HP:0003072")),
    _Lab(r"(?:serum )?phosph(?:orus|ate)", _MG_DL, (2.4, "HP:0002148"), (4.8, "HP:0002905")),
    _Lab(r"(?:serum )?magnesium", r"mg\s*/\s*dL|" + _MMOL, (1.4, "HP:0002917")),
    _Lab(
        r"(?:fasting |random |serum |blood |plasma )*(?:glucose|blood sugar)",
        _MG_DL,
        (60, "HP:0001943"),
        (180, "HP:0003074"),
    ),
    _Lab(r"(?:serum )?creatinine", _MG_DL, None, (1.4, "HP:0003259")),
    _Lab(r"(?:blood )?urea nitrogen|bun", _MG_DL, None, (25, "HP:0003138")),
    _Lab(r"(?:total |serum )*bilirubin", _MG_DL, None, (1.5, "HP:0002904")),
    _Lab(r"alanine (?:amino)?transferase|alt|sgpt", _U_L, None, (60, "HP:0031964")),
    _Lab(r"aspartate (?:amino)?transferase|ast|sgot", _U_L, None, (60, "HP:0031956")),
    _Lab(r"alkaline phosphatase|alp", _U_L, None, (150, "HP:0003155")),
    _Lab(r"lactate dehydrogenase|ldh", _U_L, None, (300, "HP:0025435")),
    _Lab(r"creatine (?:phospho)?kinase|ck|cpk", _U_L, None, (300, "HP:0003236")),
    _Lab(r"(?:serum )?albumin", _G_DL, (3.2, "HP:0003073")),
    _Lab(r"(?:serum )?uric acid", _MG_DL, None, (7.5, "HP:0002149")),
    _Lab(
        r"(?:serum )?ferritin",
        r"ng\s*/\s*mL|(?:\u03bc|\u00b5|mc)g\s*/\s*L",
        (15, "HP:0012343"),
        (400, "HP:0003281"),
    ),
    _Lab(r"(?:total |serum )*cholesterol", _MG_DL, None, (250, "HP:0003124")),
    _Lab(r"(?:serum )?triglycerides?", _MG_DL, None, (250, "HP:0002155")),
    _Lab(
        r"(?:erythrocyte )?sedimentation rate|esr",
        r"mm\s*/\s*(?:h|hr|hour|1st hour)\b",
        None,
        (30, "HP:0003565"),
    ),
    _Lab(r"c-reactive protein|crp", r"mg\s*/\s*L\b", None, (10, "HP:0011227")),
    _Lab(
        r"thyroid[- ]stimulating hormone|thyrotropin|tsh",
        r"(?:\u03bc|\u00b5|u|m|mc)?I?U\s*/\s*m?L",
        (0.3, "HP:0031098"),
        (5.5, "HP:0002925"),
    ),
    _Lab(r"(?:arterial |blood )*ph", r"(?=[\s,.;)])", (7.33, "HP:0001941"), (7.47, "HP:0001948")),
    _Lab(
        r"body mass index|bmi",
        r"(?:kg\s*/\s*m(?:2|\u00b2|\^2))?(?=[\s,.;)]|$)",
        (17.5, "HP:0004325"),
        (30, "HP:0001513"),
    ),
)
_NAMES = tuple(dict.fromkeys(lab.names for lab in _LABS))
_PATTERNS = tuple(
    tuple((lab, lab.pattern()) for lab in _LABS if lab.names == names) for names in _NAMES
)
_CANDIDATE = re.compile(
    r"\b(?=[a-z])(?:"
    + "|".join(f"(?P<l{at}>(?:{names}){_LINK}\\d)" for at, names in enumerate(_NAMES))
    + ")",
    re.IGNORECASE,
)
"""A name and a number: looked for in one pass, before the units are."""


def labs(text: str) -> Iterator[Measured]:
    """Yield what laboratory values say; a value inside its limits denies the finding.

    >>> [(m.term, m.present) for m in labs("Hemoglobin 8.2 g/dL, platelet count 250,000/mm3.")]
    [('HP:0001903', True), ('HP:0001901', False), ('HP:0001873', False), ('HP:0001894', False)]
    """
    for place in _CANDIDATE.finditer(text):
        for lab, pattern in _PATTERNS[int((place.lastgroup or "l0")[1:])]:
            if (found := pattern.match(text, place.start())) is not None:
                yield from _measured(lab, found)


def _measured(lab: _Lab, found: re.Match[str]) -> Iterator[Measured]:
    value = float(found["value"].replace(",", ""))
    if lab.low is not None:
        yield Measured(lab.low[1], value < lab.low[0], *_span(found))
    if lab.high is not None:
        yield Measured(lab.high[1], value > lab.high[0], *_span(found))


def _span(found: re.Match[str]) -> tuple[int, int]:
    start, end = found.span()
    return start, end - (len(found[0]) - len(found[0].rstrip()))
