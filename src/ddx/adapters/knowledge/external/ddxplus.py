"""DDXPlus's tables: conditions, the questions that patients were asked, and who says yes.

Its patients are synthetic, drawn from these tables: they are a model of patients, and say nothing
about how often a finding is seen in real ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddx.adapters.knowledge.model import Annotation, Profile, Term
from ddx.core.statements import statement
from ddx.errors import BadKnowledge

CONDITIONS = "ddxplus_release_conditions.json"
EVIDENCES = "ddxplus_release_evidences.json"
SHARES = "ddxplus_symptom_condition_probs.json"
_PREFIX = "DDXPLUS"


@dataclass(frozen=True, slots=True)
class Ddxplus:
    """What the three files say together; empty where one of them is not there."""

    terms: Mapping[str, Term] = field(default_factory=dict)
    profiles: tuple[Profile, ...] = ()
    asked: Mapping[str, str] = field(default_factory=dict)
    """A question, or the statement made of it -> the term that a yes means."""

    @classmethod
    def read(cls, files: Mapping[str, Path]) -> Ddxplus:
        """Read them where all are there."""
        if not {CONDITIONS, EVIDENCES, SHARES} <= files.keys():
            return cls()
        questions = read_questions(files[EVIDENCES])
        terms: dict[str, Term] = {}
        asked: dict[str, str] = {}
        for name, question in questions.items():
            id, said = f"{_PREFIX}:{name}", statement(question.rstrip("?: "))
            # Words of a question are no name of a finding: prose is not searched for them.
            terms[id] = Term(id=id, name=said, in_prose=False)
            asked |= {question.rstrip("?: "): id, said: id}
        shares = read_shares(files[SHARES])
        profiles = tuple(
            Profile(
                id=f"{_PREFIX}:{name}",
                name=name,
                codes=((f"ICD-10:{code}", name),) if code else (),
                annotations=tuple(_annotations(shares.get(name, {}), terms)),
            )
            for name, code in sorted(read_conditions(files[CONDITIONS]).items())
        )
        return cls(terms, profiles, asked)


def _annotations(shares: Mapping[str, float], terms: Mapping[str, Term]) -> Iterator[Annotation]:
    for name, share in sorted(shares.items()):
        if share > 0 and f"{_PREFIX}:{name}" in terms:
            yield Annotation(term=f"{_PREFIX}:{name}", frequency=share, reference="DDXPlus")


def read_conditions(path: Path) -> dict[str, str]:
    """Return the English name of each condition -> its ICD-10 code. Raises BadKnowledge."""
    return {
        str(one["cond-name-eng"]): str(one.get("icd10-id", "")).partition(",")[0].strip().upper()
        for one in _objects(path)
    }


def read_questions(path: Path) -> dict[str, str]:
    """Return the code of each evidence -> its question in English. Raises BadKnowledge."""
    return {str(one["name"]): str(one["question_en"]).strip() for one in _objects(path)}


def read_shares(path: Path) -> dict[str, dict[str, float]]:
    """Return condition -> evidence -> share of its patients in [0, 1]. Raises BadKnowledge."""
    found = _json(path).get("probabilities")
    if not isinstance(found, dict):
        raise BadKnowledge(f"{path.name} has no `probabilities`.")
    shares = {
        str(condition): {str(name): float(share) for name, share in row.items()}
        for condition, row in found.items()
    }
    if not all(0 <= share <= 1 for row in shares.values() for share in row.values()):
        raise BadKnowledge(f"{path.name} has a share that is not from 0 to 1.")
    return shares


def _objects(path: Path) -> list[Mapping[str, Any]]:
    found = list(_json(path).values())
    if not all(isinstance(one, dict) for one in found):
        raise BadKnowledge(f"{path.name} is not an object of objects.")
    return found


def _json(path: Path) -> Mapping[str, Any]:
    found = json.loads(path.read_bytes())
    if not isinstance(found, dict):
        raise BadKnowledge(f"{path.name} is not a JSON object.")
    return found
