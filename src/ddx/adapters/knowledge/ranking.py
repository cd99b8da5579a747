"""Diseases ranked by how well they explain the findings.

For each finding, a disease is given the best likelihood ratio among the finding and what lies
above it, the less the further up: who is described with 'seizure' half explains 'focal
seizure'. To the sum is added how much of the disease's own description the findings cover.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from ddx.adapters.knowledge.calibration import calibration
from ddx.adapters.knowledge.case import Case
from ddx.adapters.knowledge.index import Index
from ddx.adapters.knowledge.rates import RateWeights, base_rates, of_patient
from ddx.core.record import Setting

KEPT = 200
"""How many diseases are put in order; the others only count for the probabilities."""
_WIDE = 1000
"""A finding of so many diseases is kept as a whole row as well: quicker to compare with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Constants of the ranking, chosen on development cases."""

    step: float = 0.2
    """Part of the log likelihood ratio lost with each step up the ontology."""
    floor: float = 0.1
    """The part that is left however far up."""
    miss: float = -1.0
    """Log likelihood ratio of a finding that nothing in the disease explains."""
    denied: float = -3.0
    """The same where a source says that the finding is not part of the disease."""
    absent: float = 0.05
    """Weight of what was looked for and is absent. Little: a feature can still come, and what
    published cases of rare disease deny is what others with the same disease have."""
    absent_common: float = 0.2
    """The same where common disease is seen: there a denial is an answer to a question."""
    covered: float = 2.0
    """Log odds for each finding of the case, were all that the disease is described with
    covered by the case. Information that is covered in part counts in part."""
    rarest: float = 0.003
    """Least share of patients taken to have a finding, where common disease is seen: what one
    condition alone is described with happens to others too."""
    text: float = 4.0
    """Log odds for each standard deviation by which the words of a disease fit the case's
    better than the mean does, where texts of diseases were added. This and the next were chosen
    on the development cases in prose."""
    text_common: float = 2.5
    """The same where common disease is seen, for most texts are about rare disease. With 1, 2
    and 4 the first place was right in 30, 27 and 25 % of 703 cases of common disease, and the
    first ten in 40, 42 and 43 % of 177 of rare disease."""
    text_names: float = 1.25
    """The same where only names of diseases and of their findings are there to compare with."""
    rates: RateWeights = field(default_factory=RateWeights)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The diseases, best first."""

    order: Any
    """Rows of the best diseases, the first KEPT; those without a described finding are left
    out."""
    compared: int
    """How many diseases have a described finding."""
    scores: Any
    """Log odds against the average disease, beside the rows of the index."""
    probabilities: Any
    """In [0, 1], beside the rows of the index; their sum is less than 1, for the disease may be
    one that is not described."""


@dataclass(frozen=True, slots=True)
class _Setting:
    """What depends on where the patient is seen."""

    rates: Any
    """Log odds of each disease before any finding."""
    background: Any
    """Share of those who come that have a finding."""
    log_ratio: Any
    """Log likelihood ratios, beside `col_p`."""
    wide: Mapping[int, Any]
    """Term -> its log likelihood ratio of every disease, -inf where none; the widest only."""


class Ranker:
    """Ranks cases against one index. Safe in threads: it only reads."""

    def __init__(self, index: Index, weights: Weights | None = None) -> None:
        self.index = index
        self.weights = weights or Weights()
        arrays = index.arrays
        said = np.where(arrays["ann_excluded"], 0.0, arrays["ann_p"]).astype(np.float32)
        owners = np.repeat(np.arange(index.n_diseases), np.diff(arrays["ann_ptr"]))
        self._said = said
        # As the type that numpy indexes with: the other way it converts them in each request.
        self._terms = arrays["ann_term"].astype(np.intp)
        self._denying = _by_term(
            arrays["ann_term"][arrays["ann_excluded"]], owners[arrays["ann_excluded"]]
        )
        self._described = np.bincount(owners, said, index.n_diseases)
        worth = said * arrays["information"][arrays["ann_term"]]
        self._worth = np.maximum(np.bincount(owners, worth, index.n_diseases), 1.0)
        self._owning = np.flatnonzero(np.diff(arrays["ann_ptr"]))
        self._first = arrays["ann_ptr"][self._owning]
        self._settings = {setting: self._setting(setting) for setting in Setting}
        # The vectors of common findings are asked for again and again; 300 are 14 MB.
        self._present = lru_cache(maxsize=300)(self._present_uncached)

    def rank(
        self, case: Case, setting: Setting = Setting.GENETICS, standing: Any = None
    ) -> Ranking:
        """Rank all diseases by what speaks for them among those who come to a `setting`.

        `standing` says of each disease how well its words fit the case's, in standard
        deviations. The order of the findings does not matter.
        """
        present = sorted({finding.term for finding in case.present})
        absent = sorted({finding.term for finding in case.absent})
        scores = self._settings[setting].rates + of_patient(self.index, case, self.weights.rates)
        for term in present:
            scores += self._present(term, setting)
        for term in absent:
            scores += self._absent(term, setting)
        if present:
            scores += self.weights.covered * len(present) * self._covered(present)
        if standing is not None:
            scores += self._weight_of_words(setting) * standing
        scores = np.where(self._described > 0, scores, -np.inf)
        order = _best(scores)
        if not len(order):
            return Ranking(order, 0, scores, np.zeros_like(scores))
        prose = any(finding.start is not None for finding in case.present)
        texts = bool(self.index.strings["texts"])
        known = calibration(setting, prose=prose, texts=texts)
        odds = np.exp((scores - scores[order[0]]) / known.divisor(len(present)))
        compared = int(np.count_nonzero(self._described))
        return Ranking(order, compared, scores, odds * (known.described / odds.sum()))

    def present_ratio(self, term: int, disease: int, setting: Setting = Setting.GENETICS) -> float:
        """Log likelihood ratio that a present finding gives a disease."""
        return float(self._present(term, setting)[disease])

    def absent_ratio(self, term: int, disease: int, setting: Setting = Setting.GENETICS) -> float:
        """Log likelihood ratio that an absent finding gives a disease."""
        return float(self._absent(term, setting)[disease])

    def absent_weight(self, setting: Setting) -> float:
        """Part of a log likelihood ratio that the absence of a finding is given."""
        rare = setting is Setting.GENETICS
        return self.weights.absent if rare else self.weights.absent_common

    def background(self, setting: Setting) -> Any:
        """Share of those who come to a setting that have each finding, by row."""
        return self._settings[setting].background

    def parts(self, steps: Any) -> Any:
        """Part of a log likelihood ratio that is left so many steps up the ontology."""
        return np.maximum(self.weights.floor, 1.0 - self.weights.step * steps)

    def _setting(self, setting: Setting) -> _Setting:
        arrays = self.index.arrays
        rates = base_rates(self.index, setting, self.weights.rates)
        background = arrays["background"]
        if setting is not Setting.GENETICS:
            weights = np.exp(rates)
            shares = arrays["col_p"] * weights[arrays["col_disease"]]
            owners = np.repeat(np.arange(self.index.n_terms), np.diff(arrays["col_ptr"]))
            sums = np.bincount(owners, shares, self.index.n_terms)
            background = np.maximum(sums / weights.sum(), self.weights.rarest).astype(np.float32)
        log_ratio = np.log(arrays["col_p"]) - np.repeat(
            np.log(background), np.diff(arrays["col_ptr"])
        )
        wide = {
            int(term): self._row(int(term), log_ratio)
            for term in np.flatnonzero(np.diff(arrays["col_ptr"]) >= _WIDE)
        }
        return _Setting(rates, background, log_ratio, wide)

    def _row(self, term: int, log_ratio: Any) -> Any:
        row = np.full(self.index.n_diseases, -np.inf, np.float32)
        stretch = self.index.column_stretch(term)
        row[self.index.arrays["col_disease"][stretch]] = log_ratio[stretch]
        return row

    def _weight_of_words(self, setting: Setting) -> float:
        if not self.index.strings["texts"]:
            return self.weights.text_names
        return self.weights.text if setting is Setting.GENETICS else self.weights.text_common

    def _present_uncached(self, term: int, setting: Setting) -> Any:
        arrays, weights = self.index.arrays, self.weights
        known = self._settings[setting]
        best = np.full(self.index.n_diseases, weights.miss, np.float32)
        above, steps = self.index.ancestors(term)
        parts = self.parts(steps).astype(np.float32)
        for one, part in zip(above.tolist(), parts, strict=True):
            if one in known.wide:
                np.maximum(best, known.wide[one] * part, out=best)
                continue
            stretch = self.index.column_stretch(one)
            diseases = arrays["col_disease"][stretch]
            best[diseases] = np.maximum(best[diseases], known.log_ratio[stretch] * part)
        best[self._deniers(term)] = weights.denied
        best.flags.writeable = False
        return best

    def _deniers(self, term: int) -> Any:
        """Diseases of which a source says that they do not have the finding."""
        above, _ = self.index.ancestors(term)
        denying = [self._denying[one] for one in above.tolist() if one in self._denying]
        if not denying:
            return np.empty(0, np.int32)
        # Where another source describes the finding itself, the two weigh each other out.
        diseases, own = np.concatenate(denying), self.index.column(term).diseases
        if not len(own):
            return diseases
        at = np.minimum(np.searchsorted(own, diseases), len(own) - 1)
        return diseases[own[at] != diseases]

    def _absent(self, term: int, setting: Setting) -> Any:
        scores = np.zeros(self.index.n_diseases)
        column = self.index.column(term)
        background = min(float(self._settings[setting].background[term]), 0.95)
        scores[column.diseases] = np.log1p(-np.minimum(column.probabilities, 0.95))
        return self.absent_weight(setting) * (scores - np.log1p(-background))

    def _covered(self, present: Sequence[int]) -> Any:
        """Share of the information in each disease's findings that the case has, in [0, 1]."""
        information = self.index.arrays["information"]
        marked = np.unique(np.concatenate([self.index.ancestors(term)[0] for term in present]))
        best = np.zeros(self.index.n_terms, np.float32)
        # What says more is written later, over what says less.
        for term in marked[np.argsort(information[marked], kind="stable")].tolist():
            best[self.index.descendants(term)] = information[term]
        covered = best.take(self._terms)
        covered *= self._said
        sums = np.zeros(self.index.n_diseases)
        sums[self._owning] = np.add.reduceat(covered, self._first)
        return sums / self._worth


def _best(scores: Any) -> Any:
    """Return the rows of the best finite scores, the first KEPT; of equal ones the lower row.

    >>> _best(np.array([1.0, 3.0, -np.inf, 3.0])).tolist()
    [1, 3, 0]
    """
    least = -np.inf
    if len(scores) > KEPT:
        least = np.partition(scores, len(scores) - KEPT)[len(scores) - KEPT]
    rows = np.flatnonzero((scores >= least) & np.isfinite(scores))
    return rows[np.argsort(-scores[rows], kind="stable")][:KEPT]


def _by_term(terms: Any, diseases: Any) -> dict[int, Any]:
    """Return the diseases beside each term."""
    if not len(terms):
        return {}
    order = np.argsort(terms, kind="stable")
    found, first = np.unique(terms[order], return_index=True)
    return dict(zip(found.tolist(), np.split(diseases[order], first[1:]), strict=True))
