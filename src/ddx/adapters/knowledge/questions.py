"""What to ask next: the findings whose answer would tell the first diseases apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ddx.adapters.knowledge.case import Case
from ddx.adapters.knowledge.index import Index
from ddx.adapters.knowledge.ranking import Ranking

_TOP = 5
_UNKNOWN = 0.02
"""Taken for a finding that a disease is not described with: nothing is never there."""


def questions(index: Index, case: Case, ranking: Ranking, wanted: int = 3) -> tuple[str, ...]:
    """Return up to `wanted` questions, the most telling first.

    A question's worth is the mutual information, in nats, between its answer and which of the
    first five diseases it is.
    """
    top = [int(disease) for disease in ranking.order[:_TOP]]
    if len(top) < 2:
        return ()
    weights = ranking.probabilities[top]
    weights = weights / weights.sum()
    known = _closure(index, [f.term for f in case.present + case.absent])
    terms = np.array(sorted(_described(index, top) - known), np.int64)
    shares = np.array([index.profile(disease)[terms] for disease in top])
    worths = _worth(weights, np.clip(shares, _UNKNOWN, 1 - _UNKNOWN))
    chosen: list[int] = []
    taken: set[int] = set(known)
    for at in np.argsort(-worths, kind="stable").tolist():
        term, worth = int(terms[at]), float(worths[at])
        # Not twice the same in other words.
        above = set(index.ancestors(term)[0].tolist())
        if worth > 0 and term not in taken and not above.intersection(chosen):
            chosen.append(term)
            taken |= above
        if len(chosen) == wanted:
            break
    return tuple(_question(index, term, top) for term in chosen)


def _described(index: Index, diseases: Sequence[int]) -> set[int]:
    """Findings that one of the diseases is described with, headings left out."""
    return {
        int(term)
        for disease in diseases
        for term in index.arrays["ann_term"][index.annotations(disease)]
    }


def _closure(index: Index, terms: Sequence[int]) -> set[int]:
    return {int(above) for term in terms for above in index.ancestors(term)[0]}


def _worth(weights: Any, shares: Any) -> Any:
    """Mutual information of each column of `shares`: one row for each disease."""
    return _entropy(weights @ shares) - weights @ _entropy(shares)


def _entropy(p: Any) -> Any:
    """Entropy of a yes or no, in nats.

    >>> round(float(_entropy(np.array(0.5))), 3)
    0.693
    """
    return -(p * np.log(p) + (1 - p) * np.log1p(-p))


def _question(index: Index, term: int, diseases: Sequence[int]) -> str:
    likely = max(diseases, key=lambda disease: index.probability(term, disease))
    share = index.probability(term, likely)
    return (
        f"Is there {index.term_name(term)}? About {share:.0%} of patients with "
        f"{index.disease_name(likely)} have it."
    )
