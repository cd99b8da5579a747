"""The figures behind each likelihood ratio: what the annotation says, and what is usual."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ddx.adapters.knowledge.ranking import Ranker
from ddx.core.record import Basis, Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one finding of the case says of one disease."""

    ratio: float
    """Likelihood ratio, as it enters the score."""
    basis: Basis | None
    """None: nothing at or above the finding explains it."""
    share: float
    """Share of patients with the finding itself; 0.0 where no source says it."""
    source: str | None
    """Where the nearest annotation stands."""
    denied: bool = False
    """A source says that the finding is not part of the disease."""


class Ledger:
    """The accounts of one disease among those who come to a setting."""

    def __init__(self, ranker: Ranker, disease: int, setting: Setting) -> None:
        self._ranker, self._disease, self._setting = ranker, disease, setting
        self._index = ranker.index
        self._shares = self._index.profile(disease)
        self._background = ranker.background(setting)
        self._above, self._starts = self._index.above_annotations(disease)

    def share(self, term: int) -> float:
        """P(finding | disease): 0.0 where no source says it."""
        return float(self._shares[term])

    def present(self, term: int) -> Entry:
        """Return what the presence of a finding says."""
        weights = self._ranker.weights
        log_ratio = self._ranker.present_ratio(term, self._disease, self._setting)
        denied = log_ratio == weights.denied
        return Entry(
            ratio=math.exp(log_ratio),
            basis=self._denial(term) if denied else self._best(term),
            share=self.share(term),
            source=self._source(term),
            denied=denied,
        )

    def absent(self, term: int) -> Entry:
        """Return what the absence of a finding says."""
        log_ratio = self._ranker.absent_ratio(term, self._disease, self._setting)
        return Entry(
            ratio=math.exp(log_ratio),
            basis=self._basis(term, self._ranker.weights.absent),
            share=self.share(term),
            source=self._source(term),
        )

    def _best(self, term: int) -> Basis | None:
        """Return the figures of the finding, at or above this one, that speaks most for it."""
        above, steps = self._index.ancestors(term)
        shares, background = self._shares[above], self._background[above]
        parts = self._ranker.parts(steps)
        with np.errstate(divide="ignore"):
            logs = np.log(shares / background) * parts
        best = int(logs.argmax())
        if logs[best] <= self._ranker.weights.miss:
            return None
        return self._basis(int(above[best]), float(parts[best]))

    def _denial(self, term: int) -> Basis:
        """Return share 0: the ratio is then a constant, for nothing is never there."""
        known = self._basis(term, 1.0)
        return Basis(code=known.code, finding=known.finding, share=0.0, background=known.background)

    def _basis(self, term: int, weight: float) -> Basis:
        return Basis(
            code=self._index.term_id(term),
            finding=self._index.term_name(term),
            share=_rounded(self._shares[term]),
            background=_rounded(self._background[term]),
            weight=_rounded(weight),
        )

    def _source(self, term: int) -> str | None:
        """Where the annotation stands that is nearest to a finding, None where none is near."""
        if not len(self._above):
            return None
        arrays = self._index.arrays
        marks = np.zeros(self._index.n_terms, np.float32)
        shared, _ = self._index.ancestors(term)
        marks[shared] = arrays["information"][shared]
        near = np.maximum.reduceat(marks[self._above], self._starts[:-1])
        nearest = int(near.argmax())
        if near[nearest] <= 0:
            return None
        reference = arrays["ann_reference"][self._index.annotations(self._disease)][nearest]
        return str(self._index.strings["references"][reference]) or None


def _rounded(value: float) -> float:
    """Four significant digits: as much as the ratio needs, and as people read."""
    return float(f"{value:.4g}")
