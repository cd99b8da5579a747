"""Ages: as HPO onset terms, as ISO 8601 durations, as labels. All in years."""

from __future__ import annotations

import re

_ONSET: dict[str, tuple[str, float]] = {
    "HP:0030674": ("antenatal onset", 0.0),
    "HP:0011460": ("embryonal onset", 0.0),
    "HP:0011461": ("fetal onset", 0.0),
    "HP:0003577": ("congenital onset", 0.0),
    "HP:0003623": ("neonatal onset", 0.0),
    "HP:0003593": ("infantile onset", 0.08),
    "HP:0410280": ("pediatric onset", 0.0),
    "HP:0011463": ("childhood onset", 1.0),
    "HP:0003621": ("juvenile onset", 5.0),
    "HP:0003581": ("adult onset", 16.0),
    "HP:0011462": ("young adult onset", 16.0),
    "HP:0025708": ("early young adult onset", 16.0),
    "HP:0025709": ("intermediate young adult onset", 19.0),
    "HP:0025710": ("late young adult onset", 25.0),
    "HP:0003596": ("middle age onset", 40.0),
    "HP:0003584": ("late onset", 60.0),
}
"""Label and lower bound in years. Source: definitions of HP:0003674's children in hp.obo."""
_LABELS = dict(_ONSET.values())
_DURATION = re.compile(
    r"P(?=\d|T)(?:(\d+(?:\.\d+)?)Y)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)W)?"
    r"(?:(\d+(?:\.\d+)?)D)?(?:T[\dHMS.]*)?"
)
_PER_YEAR = (1.0, 12.0, 52.18, 365.25)


def onset_years(term: str) -> float | None:
    """Return the youngest age, in years, that an HPO onset term stands for.

    >>> onset_years("HP:0003621"), onset_years("HP:0001250")
    (5.0, None)
    """
    found = _ONSET.get(term)
    return found[1] if found else None


def age_years(age: str) -> float | None:
    """Read an ISO 8601 duration or an HPO onset label; None where it is neither.

    >>> age_years("P3Y6M"), age_years("Juvenile onset"), age_years("long ago")
    (3.5, 5.0, None)
    """
    if found := _DURATION.fullmatch(age.strip()):
        parts = zip(found.groups(), _PER_YEAR, strict=True)
        return sum(float(number) / per_year for number, per_year in parts if number)
    return _LABELS.get(age.strip().lower(), onset_years(age.strip()))
