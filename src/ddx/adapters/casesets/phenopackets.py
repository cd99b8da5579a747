"""GA4GH phenopackets, version 2, as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ddx.adapters.casesets.fields import Line, checked
from ddx.core.caseset import Case, Truth
from ddx.core.phenopacket import findings_of, objects


def phenopacket_case(line: Line, id: str) -> Case:
    """Return the case of a phenopacket; its truth is the diagnosis of its interpretations.

    Where there is none, the diseases that are not excluded. Raises BadCases.
    """
    try:
        findings = findings_of(line.values)
    except ValueError as error:
        raise line.wrong(str(error)) from None
    terms = list(_diagnoses(line)) or list(_diseases(line))
    return checked(
        line,
        Case(
            id=id,
            findings=findings,
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


def _objects(line: Line, name: str) -> Sequence[Mapping[str, Any]]:
    try:
        return objects(line.values, name)
    except ValueError as error:
        raise line.wrong(str(error)) from None
