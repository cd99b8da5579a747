"""Why a disease is in the list: evidence for and against, and both in sentences."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ddx.adapters.knowledge.case import Case, Finding
from ddx.adapters.knowledge.codes import codes_of
from ddx.adapters.knowledge.ledger import Account, Entry, Ledger
from ddx.adapters.knowledge.ranking import Ranker, Ranking
from ddx.core.differential import likelihood_of
from ddx.core.record import Basis, Code, Diagnosis, Evidence, Request

SUPPORTS = 1.5
"""A finding counts as support from this likelihood ratio on."""
EXPECTED = 0.3
"""The absence of a finding speaks against a disease that has it in this share of patients."""
TYPICAL = 0.75
"""A feature of so many patients is worth a word when the case does not mention it."""
_NAMED = 5
"""How many findings a sentence names."""


@dataclass(slots=True)
class _Weighed:
    """The case's findings, sorted by what they say of one disease."""

    supporting: list[Evidence] = field(default_factory=list)
    contradicting: list[Evidence] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)


class Explainer:
    """Puts a ranking into words. Safe in threads: it only reads."""

    def __init__(self, ranker: Ranker) -> None:
        self._ranker = ranker
        self._index = ranker.index

    def diagnoses(self, case: Case, request: Request, ranking: Ranking) -> tuple[Diagnosis, ...]:
        """Return the entries of the first diseases, as many as were asked for."""
        ledger = Ledger(self._ranker, [item.term for item in case.present], request.setting)
        mentioned = self._mentioned(case)
        return tuple(
            self._diagnosis(case, request, ledger.of(disease), ranking, mentioned, disease)
            for disease in ranking.order[: request.top_differential].tolist()
        )

    def _diagnosis(
        self,
        case: Case,
        request: Request,
        account: Account,
        ranking: Ranking,
        mentioned: Any,
        disease: int,
    ) -> Diagnosis:
        weighed = self._weigh(case, request.case, account)
        probability = float(ranking.probabilities[disease])
        care = self._index.care(disease)
        return Diagnosis(
            name=self._index.disease_name(disease),
            likelihood=likelihood_of(probability),
            probability=round(probability, 4),
            codes=self.codes(disease),
            supporting=tuple(weighed.supporting),
            contradicting=tuple(weighed.contradicting),
            clinical_relevance=self._relevance(case, weighed, disease),
            lack_of_fit=self._lack_of_fit(weighed, mentioned, disease),
            urgency=care.get("urgency"),
            next_steps=tuple(care.get("next_steps", ())),
        )

    def codes(self, disease: int) -> tuple[Code, ...]:
        """Return the codes of a disease: of this one only, and at most one in each system."""
        return codes_of(self._index.disease_codes(disease))

    def _weigh(self, case: Case, text: str, account: Account) -> _Weighed:
        weighed = _Weighed()
        for finding, entry in zip(case.present, account.present, strict=True):
            if entry.ratio >= SUPPORTS:
                weighed.supporting.append(self._evidence(finding, text, entry))
            elif entry.denied:
                weighed.contradicting.append(self._evidence(finding, text, entry))
            else:
                weighed.unexplained.append(_lower(self._index.term_name(finding.term)))
        for finding in case.absent:
            if account.share(finding.term) >= EXPECTED:
                entry = account.absent(finding.term)
                weighed.contradicting.append(self._evidence(finding, text, entry, prefix="no "))
        weighed.supporting.sort(key=lambda item: -(item.likelihood_ratio or 0.0))
        weighed.contradicting.sort(key=lambda item: item.likelihood_ratio or 0.0)
        return weighed

    def _evidence(self, finding: Finding, text: str, entry: Entry, prefix: str = "") -> Evidence:
        start, end = finding.start, finding.end
        return Evidence(
            finding=prefix + _lower(self._index.term_name(finding.term)),
            quote=None if start is None else text[start:end],
            start=start,
            end=end,
            code=self._index.term_id(finding.term),
            likelihood_ratio=float(f"{entry.ratio:.3g}"),
            source=entry.source,
            basis=entry.basis,
        )

    def _relevance(self, case: Case, weighed: _Weighed, disease: int) -> str:
        if not weighed.supporting:
            return "No finding of the case is typical of this disease." + self._of_care(disease)
        named = [
            _with_basis(item.finding, item.code, item.basis) for item in weighed.supporting[:_NAMED]
        ]
        return (
            f"{len(weighed.supporting)} of {len(case.present)} findings speak for it: "
            f"{_and(named)}." + self._of_care(disease)
        )

    def _of_care(self, disease: int) -> str:
        """What a pack adds, and what has to be said of the pack."""
        care = self._index.care(disease)
        if not care:
            return ""
        flags = f" Red flags: {_and(list(care['red_flags']))}." if care["red_flags"] else ""
        return f"{flags} {care['label']}"

    def _lack_of_fit(self, weighed: _Weighed, mentioned: Any, disease: int) -> str:
        sentences = []
        if weighed.unexplained:
            sentences.append(f"It does not explain {_and(weighed.unexplained[:_NAMED])}.")
        if weighed.contradicting:
            against = [item.finding for item in weighed.contradicting[:_NAMED]]
            sentences.append(f"Against it: {_and(against)}.")
        if missing := self._typical_unmentioned(mentioned, disease):
            sentences.append(f"Typical, but not mentioned: {_and(missing)}.")
        return " ".join(sentences)

    def _mentioned(self, case: Case) -> Any:
        """Whether each finding is told by the case, in another's words or by a denial above it."""
        index = self._index
        told = np.zeros(index.n_terms, np.bool_)
        for finding in case.present + case.absent:
            told[index.ancestors(finding.term)[0]] = True
        for finding in case.absent:
            told[index.descendants(finding.term)] = True
        return told

    def _typical_unmentioned(self, mentioned: Any, disease: int) -> list[str]:
        arrays, index = self._index.arrays, self._index
        stretch = index.annotations(disease)
        terms = arrays["ann_term"][stretch]
        typical = terms[(arrays["ann_p"][stretch] >= TYPICAL) & ~mentioned[terms]]
        telling = np.argsort(-arrays["information"][typical], kind="stable")[:3]
        return [_lower(index.term_name(term)) for term in typical[telling].tolist()]


def _with_basis(name: str, code: str | None, basis: Basis | None) -> str:
    """Say with a finding what its annotation says."""
    if basis is None:
        return name
    described = "" if basis.code == code else f"{_lower(basis.finding)} "
    return (
        f"{name} ({described}in about {_percent(basis.share)} of patients, "
        f"in {_percent(basis.background)} of all)"
    )


def _percent(share: float) -> str:
    """Say a share as people read it.

    >>> _percent(0.545), _percent(0.0123), _percent(0.0004)
    ('55%', '1.2%', 'less than 0.1%')
    """
    if share < 0.001:
        return "less than 0.1%"
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"


def _lower(name: str) -> str:
    """Put a name inside a sentence; abbreviations keep their capitals.

    >>> _lower("Fever"), _lower("EEG with spikes")
    ('fever', 'EEG with spikes')
    """
    return name if name[1:2].isupper() or not name[1:2].isalpha() else name[:1].lower() + name[1:]


def _and(parts: list[str]) -> str:
    """Join as a sentence does.

    >>> _and(["fever"]), _and(["fever", "cough", "rash"])
    ('fever', 'fever, cough and rash')
    """
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
