"""Ontology and diseases to the arrays of an index."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddx.adapters.knowledge.care import care_arrays, care_strings
from ddx.adapters.knowledge.merge import source_of
from ddx.adapters.knowledge.model import PHENOTYPE, Annotation, Disease, Ontology, Term
from ddx.adapters.knowledge.names import name_key
from ddx.adapters.knowledge.phrases import phrase_arrays
from ddx.adapters.knowledge.signal import word_arrays
from ddx.adapters.knowledge.stages import onset_years

UNKNOWN_FREQUENCY = 0.5
"""Taken for an annotation without a frequency: such findings are mostly the typical ones."""
_PRIOR_PATIENTS = 1.0
"""A count of n is read as if so many more patients had been seen, half of them with the
finding: 1 of 1 does not mean always."""

Arrays = dict[str, Any]


def build(
    ontology: Ontology,
    diseases: Sequence[Disease],
    texts: Callable[[Disease], Iterable[str]] = lambda disease: (),  # noqa: ARG005
    other_texts: Sequence[str] = (),
    asked: Mapping[str, str] | None = None,
) -> tuple[Arrays, Arrays]:
    """Return the arrays and the strings of an index.

    `texts` gives what is written about a disease beside its findings; `other_texts` are about
    none of the diseases, and tell how rare a word is; `asked` leads from questions to findings.
    """
    ids = sorted(_below(ontology, PHENOTYPE) | ontology.findings)
    row = {id: place for place, id in enumerate(ids)}
    ancestors = _ancestors(ontology, ids, row)
    findings = [_findings(disease, ontology, row) for disease in diseases]
    arrays: Arrays = {
        **_closure_arrays(ancestors),
        **_profile_arrays(findings, ancestors, len(ids)),
        **_annotation_arrays(findings),
        "onset_years": np.array([_earliest(disease) for disease in diseases], np.float32),
        "x_recessive": np.array([_x_recessive(disease) for disease in diseases], np.bool_),
        **care_arrays(diseases),
    }
    references = sorted({item.reference for found in findings for item in found.values()})
    numbered = {reference: place for place, reference in enumerate(references)}
    arrays["ann_reference"] = np.array(
        [numbered[item.reference] for found in findings for item in found.values()], np.int32
    )
    phrases, vocabulary = phrase_arrays(
        ontology.terms[id] if ontology.terms[id].in_prose else Term(id=id, name="") for id in ids
    )
    arrays |= phrases
    written = [tuple(texts(disease)) for disease in diseases]
    documents = [
        (*_labels(disease, found, ontology, ids), *more)
        for disease, found, more in zip(diseases, findings, written, strict=True)
    ]
    postings, text_words = word_arrays(documents, other_texts)
    arrays |= postings
    strings: Arrays = {
        "terms": ids,
        "term_names": [ontology.terms[id].name for id in ids],
        "moved": {old: new for old, new in ontology.moved.items() if new in row},
        "diseases": [
            {
                "name": disease.name,
                "codes": _codes(disease),
                "keys": _name_keys(disease),
            }
            | care_strings(disease)
            for disease in diseases
        ],
        "references": references,
        "asked": dict(asked or {}),
        "vocabulary": vocabulary,
        "text_words": text_words,
        "texts": sum(map(len, written)),
    }
    return arrays, strings


@dataclass(slots=True)
class _Finding:
    """One term of one disease, over all its sources."""

    probability: float
    excluded: bool
    reference: str


def _findings(disease: Disease, ontology: Ontology, row: Mapping[str, int]) -> dict[int, _Finding]:
    """Join the annotations of a disease: term row -> its probability and where it stands."""
    found: dict[int, _Finding] = {}
    for profile in disease.profiles:
        by_term: dict[int, list[Annotation]] = defaultdict(list)
        for annotation in profile.annotations:
            place = row.get(ontology.moved.get(annotation.term, annotation.term))
            if place is not None:
                by_term[place].append(annotation)
        for place, said in by_term.items():
            item = _joined(said)
            known = found.get(place)
            if known is None or item.probability > known.probability:
                found[place] = item
    return dict(sorted(found.items()))


def _joined(annotations: Sequence[Annotation]) -> _Finding:
    """Join what one source says of one finding: counts are added up."""
    said = [item for item in annotations if not item.excluded]
    if not said:
        return _Finding(0.0, True, annotations[0].reference)
    counted = [
        (item.frequency, item.patients)
        for item in annotations
        if item.frequency is not None and item.patients
    ]
    if counted:
        patients = sum(number for _, number in counted)
        with_it = sum(share * number for share, number in counted)
        probability = (with_it + _PRIOR_PATIENTS / 2) / (patients + _PRIOR_PATIENTS)
    else:
        shares = [item.frequency for item in said if item.frequency is not None]
        probability = max(shares) if shares else UNKNOWN_FREQUENCY
    best = max(said, key=lambda item: (item.patients or 0, item.frequency or 0.0))
    return _Finding(probability, False, best.reference)


def _codes(disease: Disease) -> list[list[str]]:
    """Return id and name of a disease in each terminology: one of each, the first that is said."""
    found: dict[str, list[str]] = {}
    for one in disease.profiles:
        for id, name in ((one.id, one.name), *one.codes):
            found.setdefault(source_of(id), [id, name])
    return list(found.values())


def _labels(
    disease: Disease, found: Mapping[int, _Finding], ontology: Ontology, ids: Sequence[str]
) -> list[str]:
    """Return the names of a disease and of its findings."""
    names = dict.fromkeys(name for one in disease.profiles for name in (one.name, *one.aliases))
    return [
        *names,
        *(ontology.terms[ids[term]].name for term, item in found.items() if not item.excluded),
    ]


def _below(ontology: Ontology, root: str) -> set[str]:
    children = defaultdict(list)
    for term in ontology.terms.values():
        for parent in term.parents:
            children[parent].append(term.id)
    found, waiting = {root}, [root]
    while waiting:
        for child in children[waiting.pop()]:
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def _ancestors(
    ontology: Ontology, ids: Sequence[str], row: Mapping[str, int]
) -> list[dict[int, int]]:
    """For each term its ancestors and itself, with the fewest steps up to each."""
    found: dict[str, dict[int, int]] = {}

    def climb(id: str) -> dict[int, int]:
        if id not in found:
            steps = {row[id]: 0}
            for parent in ontology.terms[id].parents:
                if parent in row:
                    for above, far in climb(parent).items():
                        steps[above] = min(steps.get(above, far + 1), far + 1)
            found[id] = steps
        return found[id]

    return [climb(id) for id in ids]


def _closure_arrays(ancestors: Sequence[Mapping[int, int]]) -> Arrays:
    """What lies above each term, and the same the other way round: what lies below it."""
    above = np.array([a for found in ancestors for a in found], np.int32)
    terms = np.repeat(np.arange(len(ancestors)), [len(found) for found in ancestors])
    by_ancestor = np.argsort(above, kind="stable")
    return {
        "anc_ptr": _pointers(len(found) for found in ancestors),
        "anc_term": above,
        "anc_steps": np.array([s for found in ancestors for s in found.values()], np.uint8),
        "desc_ptr": _pointers(np.bincount(above, minlength=len(ancestors)).tolist()),
        "desc_term": terms[by_ancestor].astype(np.int32),
    }


def _profile_arrays(
    findings: Sequence[Mapping[int, _Finding]],
    ancestors: Sequence[Mapping[int, int]],
    n_terms: int,
) -> Arrays:
    """P(term | disease) by column: who has a finding has all that is above it."""
    columns: list[dict[int, float]] = [{} for _ in range(n_terms)]
    for disease, found in enumerate(findings):
        for term, item in found.items():
            if not item.excluded:
                for above in ancestors[term]:
                    column = columns[above]
                    if item.probability > column.get(disease, 0.0):
                        column[disease] = item.probability
    n_diseases = len(findings)
    counts = np.array([len(column) for column in columns], np.float64)
    sums = np.array([math.fsum(column.values()) for column in columns], np.float64)
    return {
        "col_ptr": _pointers(len(column) for column in columns),
        "col_disease": np.array([d for column in columns for d in column], np.int32),
        "col_p": np.array([p for column in columns for p in column.values()], np.float32),
        "background": ((sums + 0.5) / (n_diseases + 1)).astype(np.float32),
        "information": -np.log(np.maximum(counts, 1) / max(n_diseases, 1)).astype(np.float32),
    }


def _annotation_arrays(findings: Sequence[Mapping[int, _Finding]]) -> Arrays:
    items = [(term, item) for found in findings for term, item in found.items()]
    return {
        "ann_ptr": _pointers(len(found) for found in findings),
        "ann_term": np.array([term for term, _ in items], np.int32),
        "ann_p": np.array([item.probability for _, item in items], np.float32),
        "ann_excluded": np.array([item.excluded for _, item in items], np.bool_),
    }


def _pointers(lengths: Iterable[int]) -> Any:
    return np.concatenate([[0], np.cumsum(np.fromiter(lengths, np.int64))]).astype(np.int32)


def _name_keys(disease: Disease) -> list[str]:
    """Made here, once: twelve thousand of them take a third of a second."""
    names = [name for one in disease.profiles for name in (one.name, *one.aliases)]
    return sorted({name_key(name) for name in (disease.name, *names)})


def _earliest(disease: Disease) -> float:
    """Youngest age, in years, at which the disease is said to begin; NaN where not said."""
    ages = [
        age
        for profile in disease.profiles
        for onset in profile.onsets
        if (age := onset_years(onset)) is not None
    ]
    return min(ages) if ages else math.nan


def _x_recessive(disease: Disease) -> bool:
    """Whether all that is said of its inheritance is X-linked recessive."""
    said = {mode for profile in disease.profiles for mode in profile.inheritance}
    return said == {"HP:0001419"}
