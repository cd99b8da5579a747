"""GA4GH phenopackets, version 2, as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ddx.adapters.casesets.fields import Line, checked
from ddx.core.caseset import Case, Truth
from ddx.core.record import Findings


def is_phenopacket(values: Any) -> bool:
    """Whether a JSON document is one."""
    return isinstance(values, Mapping) and "phenotypicFeatures" in values


def phenopacket_case(line: Line, id: str) -> Case:
    """Return the case of a phenopacket; its truth is the diagnosis of its interpretations.

    Where there is none, the diseases that are not excluded. Raises BadCases.
    """
    present: list[str] = []
    absent: list[str] = []
    for feature in _objects(line, "phenotypicFeatures"):
        term = feature.get("type")
        code = term.get("id") if isinstance(term, Mapping) else None
        if not isinstance(code, str):
            raise line.wrong("a phenotypic feature needs `type.id`")
        if code.startswith("HP:"):
            (absent if feature.get("excluded") is True else present).append(code)
    subject = line.values.get("subject")
    subject = subject if isinstance(subject, Mapping) else {}
    sex = subject.get("sex")
    terms = list(_diagnoses(line)) or list(_diseases(line))
    return checked(
        line,
        Case(
            id=id,
            findings=Findings(
                present=tuple(present),
                absent=tuple(absent),
                sex=sex if isinstance(sex, str) else None,
                age=_age(subject.get("timeAtLastEncounter")),
            ),
            truth=Truth(
                name=next((str(t["label"]) for t in terms if t.get("label")), ""),
                ids=tuple(dict.fromkeys(str(t["id"]) for t in terms if t.get("id"))),
            ),
        ),
    )


def _diagnoses(line: Line) -> Iterator[Mapping[str, Any]]:
    for interpretation in _objects(line, "interpretations"):
        diagnosis = interpretation.get("diagnosis")
        disease = diagnosis.get("disease") if isinstance(diagnosis, Mapping) else None
        if isinstance(disease, Mapping):
            yield disease


def _diseases(line: Line) -> Iterator[Mapping[str, Any]]:
    for disease in _objects(line, "diseases"):
        term = disease.get("term")
        if isinstance(term, Mapping) and disease.get("excluded") is not True:
            yield term


def _objects(line: Line, name: str) -> list[Mapping[str, Any]]:
    value = line.values.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise line.wrong(f"`{name}` must be a list of objects")
    return value


def _age(element: Any) -> str | None:
    """Return a TimeElement as an ISO 8601 duration or an onset label."""
    if not isinstance(element, Mapping):
        return None
    age, label = element.get("age"), element.get("ontologyClass")
    if isinstance(age, Mapping) and isinstance(age.get("iso8601duration"), str):
        return str(age["iso8601duration"])
    if isinstance(label, Mapping) and isinstance(label.get("label"), str):
        return str(label["label"])
    return None
