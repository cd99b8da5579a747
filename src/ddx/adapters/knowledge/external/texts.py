"""Texts that describe diseases, each from a source of its own."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddx.adapters.knowledge.external.tables import lines, rows
from ddx.errors import BadKnowledge

TEXTS = "disease_texts.jsonl.gz"
SYMPTOMS = "doid_has_symptom.tsv.gz"
SOURCES = ("doid", "ncit", "ordo", "medquad")
"""Keys of the texts in one line: Disease Ontology, NCI Thesaurus, Orphanet's, MedQuAD."""


@dataclass(frozen=True, slots=True)
class Described:
    """What texts say of one id."""

    id: str
    """`MONDO:0007947`; also NCIT, MEDQUAD, DOID and ORPHA ids."""
    name: str
    texts: Mapping[str, str]
    """Source -> its text."""


@dataclass(frozen=True)
class Texts:
    """All texts of all sources; empty where there are no files."""

    of_id: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Id -> its texts."""
    described: tuple[Described, ...] = ()
    """The same where they are sentences, source by source."""

    @classmethod
    def read(cls, files: Mapping[str, Path]) -> Texts:
        """Read those of the files that are there."""
        found: dict[str, list[str]] = defaultdict(list)
        described = read_texts(files[TEXTS]) if TEXTS in files else []
        for one in described:
            found[one.id] += one.texts.values()
        if SYMPTOMS in files:
            for id, symptoms in read_symptoms(files[SYMPTOMS]).items():
                found[id] += symptoms
        return cls({id: tuple(said) for id, said in found.items()}, tuple(described))


def read_texts(path: Path) -> list[Described]:
    """Read one JSON object a line. Raises BadKnowledge, naming the line."""
    found = []
    for number, line in enumerate(lines(path), start=1):
        try:
            said: Any = json.loads(line)
            texts = {source: said[source] for source in SOURCES if said.get(source)}
            one = Described(said["id"], said.get("name") or "", texts)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise BadKnowledge(f"{path.name}, line {number} is not a disease's texts.") from None
        if not all(isinstance(text, str) for text in (one.id, one.name, *texts.values())):
            raise BadKnowledge(f"{path.name}, line {number} holds something that is no text.")
        if texts:
            found.append(one)
    return found


def read_symptoms(path: Path) -> dict[str, tuple[str, ...]]:
    """Return Mondo id, or the Disease Ontology's where it has none -> names of symptoms."""
    found: dict[str, list[str]] = defaultdict(list)
    for doid, _, mondo, symptoms in rows(path, 4):
        found[mondo or doid] += symptoms.split("|")
    return {id: tuple(names) for id, names in found.items()}
