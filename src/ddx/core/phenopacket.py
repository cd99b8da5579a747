"""GA4GH phenopackets, version 2, as JSON: the findings of one patient as codes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ddx.core.record import Findings


def is_phenopacket(values: Any) -> bool:
    """Whether a JSON document is one."""
    return isinstance(values, Mapping) and "phenotypicFeatures" in values


def packet_of(text: str) -> Mapping[str, Any] | None:
    """Return the phenopacket that a text is, None where it is any other text.

    >>> packet_of('{"phenotypicFeatures": []}'), packet_of("Fever. {x}"), packet_of('{"a": 1}')
    ({'phenotypicFeatures': []}, None, None)
    """
    if not text.lstrip().startswith("{"):
        return None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return values if is_phenopacket(values) else None


def findings_of(values: Mapping[str, Any]) -> Findings:
    """Return what a phenopacket says of its patient, and nothing of its diagnosis.

    Raises ValueError, which says what is wrong and quotes nothing.

    >>> seizure = {"type": {"id": "HP:0001250"}, "excluded": True}
    >>> findings_of({"phenotypicFeatures": [seizure], "subject": {"sex": "MALE"}})
    Findings(present=(), absent=('HP:0001250',), sex='MALE', age=None)
    """
    present: list[str] = []
    absent: list[str] = []
    for feature in objects(values, "phenotypicFeatures"):
        term = feature.get("type")
        code = term.get("id") if isinstance(term, Mapping) else None
        if not isinstance(code, str):
            raise ValueError(  # noqa: TRY004  (of the document, not of an argument)
                "a phenotypic feature needs `type.id`"
            )
        if code.startswith("HP:"):
            (absent if feature.get("excluded") is True else present).append(code)
    subject = values.get("subject")
    subject = subject if isinstance(subject, Mapping) else {}
    sex = subject.get("sex")
    return Findings(
        present=tuple(present),
        absent=tuple(absent),
        sex=sex if isinstance(sex, str) else None,
        age=_age(subject.get("timeAtLastEncounter")),
    )


def objects(values: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    """Return the objects that a field lists. Raises ValueError."""
    value = values.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise ValueError(f"`{name}` must be a list of objects")
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
