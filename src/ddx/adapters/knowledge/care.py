"""What a pack of conditions says besides findings, as it stands in the index."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ddx.adapters.knowledge.model import Disease
from ddx.adapters.knowledge.schema import RATES, SETTINGS

SEXES = ("MALE", "FEMALE")


def care_arrays(diseases: Sequence[Disease]) -> dict[str, Any]:
    """Return base rates, sex and age of each disease.

    `rate_<setting>`: 0 where no pack knows the disease, else the place in RATES from 1;
    `only_sex`: 0, or the place in SEXES from 1; `begins`: two ages in years, or NaN.
    """
    cares = [disease.care for disease in diseases]
    none = (math.nan, math.nan)
    return {
        **{
            f"rate_{setting}": np.array(
                [1 + RATES.index(care.base_rate[setting]) if care else 0 for care in cares],
                np.uint8,
            )
            for setting in SETTINGS
        },
        "only_sex": np.array(
            [1 + SEXES.index(care.sex) if care and care.sex else 0 for care in cares], np.uint8
        ),
        "begins": np.array(
            [care.age_years if care and care.age_years else none for care in cares], np.float32
        ).reshape(len(cares), 2),
    }


def care_strings(disease: Disease) -> dict[str, Any]:
    """Return what is shown of a condition; empty where no pack knows the disease."""
    care = disease.care
    if care is None:
        return {}
    return {
        "care": {
            "label": care.label,
            "base_rate": dict(care.base_rate),
            "urgency": care.urgency,
            "red_flags": list(care.red_flags),
            "next_steps": list(care.next_steps),
            "confused_with": list(care.confused_with),
        }
    }
