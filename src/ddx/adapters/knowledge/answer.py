"""A case to the engine's outcome, and the two texts that are kept of how it came about."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from ddx.adapters.knowledge.case import Case, Finding
from ddx.adapters.knowledge.explain import Explainer
from ddx.adapters.knowledge.index import Index
from ddx.adapters.knowledge.questions import questions
from ddx.adapters.knowledge.ranking import Ranking, Weights
from ddx.core.record import Answered, Declined, Diagnosis, Request, Setting

RAW_LENGTH = 50
"""At least so many diseases are kept of the raw ranking."""
SPECIFIC = 4.6
"""Information in nats: at most one disease in a hundred is described with the finding."""
CONVINCING = 0.02
"""Probability below which the best candidate is not shown. Of 101 such development cases one had
the truth in the first place and three among the first ten (bench.calibration)."""

_ASK = (
    "What are the main complaints, and since when?",
    "What did the examination find?",
    "Which symptoms were asked for and are absent?",
)


def is_enough(index: Index, case: Case) -> bool:
    """Whether a ranking would say something: two findings, or one that few diseases have."""
    terms = {finding.term for finding in case.present}
    return len(terms) >= 2 or any(
        float(index.arrays["information"][term]) >= SPECIFIC for term in terms
    )


def is_convincing(ranking: Ranking) -> bool:
    """Whether the best candidate is worth showing."""
    return bool(len(ranking.order)) and float(ranking.probabilities[ranking.order[0]]) >= CONVINCING


def declined(index: Index, case: Case, ranking: Ranking | None) -> Declined:
    """Say why there is no differential, and what would help most.

    `ranking` is that of a case with enough findings of which none fits, else None.
    """
    if ranking is None:
        count = len({finding.term for finding in case.present})
        found = {0: "no finding that is present", 1: "only one finding, shared by many diseases"}
        said = f"{found.get(count, 'too few findings')} was recognised."
    else:
        said = (
            f"{len(case.present)} findings were recognised, and even the disease that fits best "
            f"has a probability below {CONVINCING:.0%}."
        )
    return Declined(
        reason=f"The case has too little detail for a differential: {said}",
        further_questions=_ASK if ranking is None else questions(index, case, ranking) or _ASK,
        missing_information=(
            "At least two symptoms, signs or test results that are present."
            if ranking is None
            else "Findings that few diseases have: signs on examination, test results.",
            *missing(case),
        ),
    )


def answered(
    index: Index, explainer: Explainer, case: Case, ranking: Ranking, request: Request
) -> Answered:
    """Return the differential, as long as was asked for."""
    diagnoses = explainer.diagnoses(case, request, ranking)
    return Answered(
        diagnoses=diagnoses,
        conclusion=_conclusion(index, case, ranking, diagnoses[0], request.setting),
        further_questions=questions(index, case, ranking),
        missing_information=missing(case),
    )


def missing(case: Case) -> tuple[str, ...]:
    """Return what would help to know, codes that were not understood included."""
    lines = []
    if case.age_years is None:
        lines.append("The patient's age.")
    if case.sex is None:
        lines.append("The patient's sex.")
    lines += [f"What {id} means: no finding of this HPO release has it." for id in case.unknown]
    return tuple(lines)


def prompt_used(index: Index, case: Case, request: Request, weights: Weights) -> str:
    """Return the engine's exact input and settings, as JSON."""
    return _json(
        {
            "present": [_finding(index, request.case, item) for item in case.present],
            "absent": [_finding(index, request.case, item) for item in case.absent],
            "unknown_codes": list(case.unknown),
            "sex": case.sex,
            "age_years": case.age_years,
            "setting": request.setting,
            "top_differential": request.top_differential,
            "weights": asdict(weights),
            "index": {"hpo": index.version, "digest": index.digest},
        }
    )


def raw_output(index: Index, ranking: Ranking | None, top: int) -> str:
    """Return the ranking with its scores, as JSON; empty where there was none."""
    order = [] if ranking is None else ranking.order[: max(RAW_LENGTH, top)].tolist()
    return _json(
        {
            "ranking": [
                {
                    "rank": rank,
                    "disease": index.disease_name(disease),
                    "codes": [id for id, _ in index.disease_codes(disease)],
                    "score": round(float(ranking.scores[disease]), 4),
                    "probability": float(f"{ranking.probabilities[disease]:.4g}"),
                }
                for rank, disease in enumerate(order, start=1)
                if ranking is not None
            ]
        }
    )


def _in_words(probability: float | None) -> str:
    """Say a probability as people read it.

    >>> _in_words(0.123), _in_words(0.0008), _in_words(None)
    (' (probability 12%)', ' (probability below 1%)', '')
    """
    if probability is None:
        return ""
    return f" (probability {probability:.0%})" if probability >= 0.01 else " (probability below 1%)"


def _conclusion(
    index: Index, case: Case, ranking: Ranking, first: Diagnosis, setting: Setting
) -> str:
    if setting is Setting.GENETICS:
        rates = "each disease is taken as equally common beforehand"
    else:
        rates = f"base rates are those of {setting.value.replace('_', ' ')}, roughly estimated"
    return (
        f"Of {ranking.compared:,} diseases compared on {len(case.present)} present and "
        f"{len(case.absent)} absent findings, {first.name} fits best"
        f"{_in_words(first.probability)}. The knowledge is the Human Phenotype Ontology's, "
        f"release {index.version} (mostly rare diseases), and this project's own on common "
        f"conditions (not clinically reviewed); {rates}."
    )


def _finding(index: Index, text: str, item: Finding) -> dict[str, Any]:
    known = {"code": index.term_id(item.term), "name": index.term_name(item.term)}
    if item.start is None:
        return known
    return known | {"quote": text[item.start : item.end], "start": item.start, "end": item.end}


def _json(value: Any) -> str:
    # A line for each member. `indent` would leave the library's quick path: ten times slower.
    return json.dumps(value, ensure_ascii=False, separators=(",\n", ": "))
