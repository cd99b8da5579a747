"""Two differentials to one: reciprocal rank fusion, keyed on the disease and not on its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ddx.core.record import Diagnosis, Evidence, Ranked

SMOOTHING = 60
"""Added to each place: what both lists name comes before what one of them puts first. The value
of Cormack, Clarke and Büttcher, SIGIR 2009, who proposed the method."""
_PRECISE = frozenset({"MONDO", "OMIM", "ORPHA"})
_SHOWN = 4
"""Findings of a candidate that are named."""


def fuse(
    llm: Sequence[Diagnosis], knowledge: Sequence[Diagnosis], top: int
) -> tuple[Diagnosis, ...]:
    """Return the `top` best of two lists, each likeliest first; of equals the LLM's is first.

    A place p is worth 1 / (60 + p), and a disease has the sum of what its places are worth. Two
    entries are one disease where they share a code of Mondo, OMIM or Orphanet, or a name. Places
    are no probabilities, so a fused entry has none; `rankings` of the record keeps both lists.

    >>> from ddx.core.record import Likelihood
    >>> def listed(*names):
    ...     return [Diagnosis(name=name, likelihood=Likelihood.LOW) for name in names]
    >>> fused = fuse(listed("Flu", "Dengue"), listed("dengue", "Malaria", "Zika"), 3)
    >>> [one.name for one in fused]  # 1/62 + 1/61, 1/61, 1/62
    ['Dengue', 'Flu', 'Malaria']
    """
    entries: list[Diagnosis] = []
    scores: list[float] = []
    for found in (llm, knowledge):
        taken: set[int] = set()
        for place, one in enumerate(found, start=1):
            at = next(
                (n for n, old in enumerate(entries) if n not in taken and _same(old, one)), None
            )
            if at is None:
                at = len(entries)
                entries.append(one)
                scores.append(0.0)
            elif found is knowledge:
                entries[at] = _joined(entries[at], one)
            taken.add(at)
            scores[at] += 1 / (SMOOTHING + place)
    order = sorted(range(len(entries)), key=lambda at: (-scores[at], at))
    return tuple(replace(entries[at], probability=None) for at in order[:top])


def ranked(diagnoses: Sequence[Diagnosis]) -> tuple[Ranked, ...]:
    """Return what is kept of a list besides the one that was answered."""
    return tuple(
        Ranked(name=one.name, probability=one.probability, codes=one.codes) for one in diagnoses
    )


def advice(candidates: Sequence[Diagnosis]) -> str:
    """Say candidates and their evidence to an LLM, a line each; empty for none."""
    return "\n".join(_line(place, one) for place, one in enumerate(candidates, start=1))


def _line(place: int, one: Diagnosis) -> str:
    said = f"{place}. {one.name}"
    if one.probability is not None:
        said += f", probability {one.probability:.2g}"
    for word, evidence in (("for", one.supporting), ("against", one.contradicting)):
        if evidence:
            said += f"; {word}: " + ", ".join(map(_ratio, evidence[:_SHOWN]))
    return said


def _ratio(evidence: Evidence) -> str:
    if evidence.likelihood_ratio is None:
        return evidence.finding
    return f"{evidence.finding} (likelihood ratio {evidence.likelihood_ratio:.2g})"


def _same(one: Diagnosis, other: Diagnosis) -> bool:
    mine, theirs = _ids(one), _ids(other)
    return bool(mine & theirs) or one.name.casefold() == other.name.casefold()


def _ids(one: Diagnosis) -> frozenset[str]:
    return frozenset(code.code for code in one.codes if code.system in _PRECISE)


def _joined(llm: Diagnosis, known: Diagnosis) -> Diagnosis:
    """The LLM's entry, with the ratios and codes that the knowledge engine has for it."""
    return replace(
        llm,
        codes=known.codes or llm.codes,
        supporting=_evidence(known.supporting, llm.supporting),
        contradicting=_evidence(known.contradicting, llm.contradicting),
        urgency=llm.urgency or known.urgency,
        next_steps=llm.next_steps or known.next_steps,
    )


def _evidence(known: Sequence[Evidence], said: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """What has a ratio, then what the LLM quotes elsewhere in the case."""
    places = [(one.start, one.end) for one in known if one.start is not None and one.end]
    more = [
        one
        for one in said
        if one.start is None
        or one.end is None
        or not any(
            start < one.end and one.start < end for start, end in places if start is not None
        )
    ]
    return (*known, *more)
