"""The public sets' own forms: CRAFT-MD, DDXPlus, AgentClinic."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ddx.adapters.casesets.ddxplus_text import Evidences
from ddx.adapters.casesets.fields import Line, checked
from ddx.core.caseset import Case, Truth


def craftmd_case(line: Line) -> Case:
    """Return a row of CRAFT-MD's usmle_and_derm_dataset.csv."""
    id = line.text("case_id")
    if not id:
        raise line.wrong("a row of CRAFT-MD needs `case_id`")
    truth = Truth(name=line.text("answer"))
    return checked(line, Case(id=f"craftmd:{id}", text=line.text("case_vignette"), truth=truth))


def ddxplus_case(line: Line, number: int, evidences: Callable[[], Evidences]) -> Case:
    """Return a row of DDXPlus's release_…_patients, its evidences as sentences."""
    try:
        codes = ast.literal_eval(line.text("EVIDENCES"))
    except (ValueError, SyntaxError):
        codes = None
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        raise line.wrong("`EVIDENCES` must be a list of codes as ['E_91', 'E_55_@_V_29']")
    sex = {"M": "MALE", "F": "FEMALE"}.get(line.text("SEX"))
    return checked(
        line,
        Case(
            id=f"ddxplus:{number}",
            text=evidences().text(codes, age=line.text("AGE"), sex=sex),
            truth=Truth(name=line.text("PATHOLOGY")),
        ),
    )


def agentclinic_case(line: Line, number: int) -> Case:
    """Return a line of AgentClinic's OSCE files: all that the actors know, as one text."""
    exam = line.values.get("OSCE_Examination")
    if not isinstance(exam, Mapping):
        raise line.wrong("`OSCE_Examination` must be an object")
    parts = [
        ("", exam.get("Patient_Actor")),
        ("Examination", exam.get("Physical_Examination_Findings")),
        ("Tests", exam.get("Test_Results")),
    ]
    text = " ".join(sentence for title, part in parts for sentence in _sentences(title, part))
    truth = Truth(name=str(exam.get("Correct_Diagnosis") or ""))
    return checked(line, Case(id=f"agentclinic:{number}", text=text, truth=truth))


def _sentences(title: str, value: Any) -> Iterator[str]:
    """Yield `title: text.` for each text in nested objects.

    >>> list(_sentences("Tests", {"Chest_CT": {"Findings": "Normal."}, "Gene": ["a", "b"]}))
    ['Chest CT: Normal.', 'Gene: a, b.']
    """
    name = title.replace("_", " ")
    if isinstance(value, Mapping):
        for inner, found in value.items():
            # `Findings` says less than what it is inside.
            plain = name if inner in ("Findings", "Comments") and name else str(inner)
            yield from _sentences(plain, found)
    elif isinstance(value, list):
        yield from _sentences(title, ", ".join(str(item) for item in value))
    elif value not in (None, ""):
        yield f"{name}: {str(value).rstrip('. ')}." if name else f"{str(value).rstrip('. ')}."
