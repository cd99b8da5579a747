"""The figures behind each likelihood ratio: what the annotation says, and what is usual."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddx.adapters.knowledge.ranking import Ranker
from ddx.core.record import Basis, Setting

_NEVER = 1e-30
"""Stands for a share of 0 where its logarithm is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one finding of the case says of one disease."""

    ratio: float
    """Likelihood ratio, as it enters the score."""
    basis: Basis | None
    """None: nothing at or above the finding explains it."""
    source: str | None
    """Where the nearest annotation stands."""
    denied: bool = False
    """A source says that the finding is not part of the disease."""


class Ledger:
    """The accounts of a case's findings, disease by disease, at one setting.

    All findings are weighed at once: a row for each, with what lies above it, filled up with
    the finding itself.
    """

    def __init__(self, ranker: Ranker, present: Sequence[int], setting: Setting) -> None:
        self._ranker, self._setting, self._present = ranker, setting, present
        self._index = ranker.index
        self._background = ranker.background(setting)
        found = [self._index.ancestors(term) for term in present]
        width = max((len(above) for above, _ in found), default=1)
        self._above = np.repeat(np.array(present, np.int32)[:, None], width, axis=1)
        steps = np.zeros(self._above.shape, np.uint8)
        for row, (above, far) in enumerate(found):
            self._above[row, : len(above)] = above
            steps[row, : len(above)] = far
        self._parts = ranker.parts(steps)
        self._usual = np.log(self._background[self._above])
        self._information = self._index.arrays["information"][self._above]

    def of(self, disease: int) -> Account:
        """Return what the findings say of one disease."""
        shares = self._index.profile(disease)
        log_ratios = (np.log(np.maximum(shares[self._above], _NEVER)) - self._usual) * self._parts
        best = log_ratios.argmax(axis=1)
        weights = self._ranker.weights
        present = []
        for row, source in enumerate(self.sources(disease)):
            term, at = self._present[row], int(best[row])
            log_ratio = self._ranker.present_ratio(term, disease, self._setting)
            denied = log_ratio == weights.denied
            basis = None
            if denied:
                basis = self._basis(term, 0.0, 1.0)
            elif log_ratios[row, at] > weights.miss:
                matched = int(self._above[row, at])
                basis = self._basis(matched, shares[matched], self._parts[row, at])
            present.append(
                Entry(ratio=math.exp(log_ratio), basis=basis, source=source, denied=denied)
            )
        return Account(self, disease, shares, tuple(present))

    def absent(self, term: int, disease: int, share: float) -> Entry:
        """Return what the absence of a finding says of a disease that has it in that share."""
        return Entry(
            ratio=math.exp(self._ranker.absent_ratio(term, disease, self._setting)),
            basis=self._basis(term, share, self._ranker.absent_weight(self._setting)),
            source=next(Ledger(self._ranker, [term], self._setting).sources(disease)),
        )

    def _basis(self, term: int, share: float, weight: float) -> Basis:
        return Basis(
            code=self._index.term_id(term),
            finding=self._index.term_name(term),
            share=_rounded(share),
            background=_rounded(self._background[term]),
            weight=_rounded(weight),
        )

    def sources(self, disease: int) -> Iterator[str | None]:
        """Where the annotation nearest to each finding stands, None where none is near."""
        above, starts = self._index.above_annotations(disease)
        described = np.zeros(self._index.n_terms, np.bool_)
        described[above] = True
        near = self._information * described[self._above]
        rows = np.arange(len(near))
        best = near.argmax(axis=1)
        nearest = self._above[rows, best]
        if not len(above):
            yield from [None] * len(near)
            return
        first = (above == nearest[:, None]).argmax(axis=1)
        at = np.searchsorted(starts, first, "right") - 1
        references = self._index.arrays["ann_reference"][self._index.annotations(disease)][at]
        for reference, worth in zip(references.tolist(), near[rows, best].tolist(), strict=True):
            yield (self._index.strings["references"][reference] or None) if worth > 0 else None


@dataclass(frozen=True, slots=True)
class Account:
    """What a case's findings say of one disease."""

    _ledger: Ledger
    _disease: int
    _shares: Any
    present: tuple[Entry, ...]
    """Beside the findings that the ledger was made for."""

    def share(self, term: int) -> float:
        """P(finding | disease): 0.0 where no source says it."""
        return float(self._shares[term])

    def absent(self, term: int) -> Entry:
        """Return what the absence of a finding says."""
        return self._ledger.absent(term, self._disease, self.share(term))


def _rounded(value: float) -> float:
    """Four significant digits: as much as the ratio needs, and as people read."""
    return float(f"{value:.4g}")
