"""What is known of a patient's disease before any finding: base rates, sex, age."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ddx.adapters.knowledge.care import SEXES
from ddx.adapters.knowledge.case import Case
from ddx.adapters.knowledge.index import Index
from ddx.adapters.knowledge.schema import RATES
from ddx.core.record import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class RateWeights:
    """Constants of the log odds before any finding."""

    class_step: float = 0.5
    """Log odds between two neighbouring classes of base rate. Far less than between the rates
    themselves: who is asked about is seldom the most ordinary of cases."""
    not_common: float = -4.0
    """Log odds of a disease that no pack knows, where common disease is seen."""
    not_genetic: float = -1.0
    """Log odds of a condition that only a pack knows, in a genetics clinic."""
    other_sex: float = -8.0
    """Added where only the other sex can have it."""
    x_recessive: float = -1.0
    """Added for a girl or woman where inheritance is X-linked recessive."""
    too_young: float = -1.0
    """Added where the patient is much younger than the disease's earliest onset."""
    age_range: float = -2.0
    """Added, for a condition of a pack, with each doubling of the distance from its typical
    ages."""


def base_rates(index: Index, setting: Setting, weights: RateWeights) -> Any:
    """Return the log odds of each disease in a setting, before sex, age and findings."""
    arrays = index.arrays
    if setting is Setting.GENETICS:
        known = arrays["rate_primary_care"] > 0
        return np.where(known & ~_annotated(index), weights.not_genetic, 0.0)
    classes = arrays[f"rate_{setting.value}"].astype(np.float64)
    return np.where(classes > 0, (classes - len(RATES)) * weights.class_step, weights.not_common)


def of_patient(index: Index, case: Case, weights: RateWeights) -> Any:
    """Return the log odds that a patient's sex and age give each disease."""
    arrays = index.arrays
    scores = np.zeros(index.n_diseases)
    if case.sex in SEXES:
        other = 1 + SEXES.index("FEMALE" if case.sex == "MALE" else "MALE")
        scores += weights.other_sex * (arrays["only_sex"] == other)
    if case.sex == "FEMALE":
        scores += weights.x_recessive * arrays["x_recessive"]
    if case.age_years is not None:
        # Half of the bound: onset classes are coarse, and patients come early too.
        scores += weights.too_young * (case.age_years < arrays["onset_years"] / 2)
        known = np.flatnonzero(arrays["rate_primary_care"])
        away = _octaves_away(arrays["begins"][known], case.age_years)
        scores[known] += weights.age_range * away
    return scores


def _octaves_away(begins: Any, age_years: float) -> Any:
    """How far an age is from a range, in doublings, 0 inside it; at most 2.

    A year is added on both sides, so that a newborn is not infinitely far from an infant.

    >>> _octaves_away(np.array([[20.0, 40.0]]), 30.0).tolist()
    [0.0]
    >>> _octaves_away(np.array([[19.0, 40.0]]), 9.0).round(3).tolist()
    [1.0]
    """
    age = np.log2(age_years + 1.0)
    low, high = np.log2(begins[:, 0] + 1.0), np.log2(begins[:, 1] + 1.0)
    away = np.maximum(np.maximum(low - age, age - high), 0.0)
    # An old patient can still have what began long ago: the upper end weighs half.
    away = np.where(age > high, away / 2, away)
    return np.minimum(np.nan_to_num(away), 2.0)


def _annotated(index: Index) -> Any:
    """Whether a source of rare and genetic disease describes the disease."""
    return np.array(
        [
            any(id.startswith(("OMIM:", "ORPHA:", "DECIPHER:")) for id, _ in entry["codes"])
            for entry in index.strings["diseases"]
        ],
        np.bool_,
    )
