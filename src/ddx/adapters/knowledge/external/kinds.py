"""The files that are known by name: what each is, by whose leave, and how it is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ddx.adapters.knowledge.external.ddxplus import (
    CONDITIONS,
    EVIDENCES,
    SHARES,
    read_conditions,
    read_questions,
    read_shares,
)
from ddx.adapters.knowledge.external.mondo import (
    EDGES,
    SYNONYMS,
    XREFS,
    read_edges,
    read_synonyms,
    read_xrefs,
)
from ddx.adapters.knowledge.external.texts import SYMPTOMS, TEXTS, read_symptoms, read_texts
from ddx.adapters.knowledge.model import PHENOTYPE
from ddx.adapters.knowledge.sources import read_hpoa, read_obo
from ddx.errors import BadKnowledge

OBO, HPOA = "hp.obo", "phenotype.hpoa"
_HPO = "HPO: free use, the consortium named, the version shown, the content unchanged"
_COLUMNS = 12
"""Of phenotype.hpoa."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a look into a file found."""

    counts: Mapping[str, int]
    version: str | None = None
    """The release that the file itself names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A file that is known by its name."""

    source: str
    licence: str
    look: Callable[[Path], Found] = field(repr=False)
    """Reads the file whole. Raises BadKnowledge, and what reading raises."""


def _counted(name: str, read: Callable[[Path], object]) -> Callable[[Path], Found]:
    def look(path: Path) -> Found:
        found = read(path)
        count = len(found)  # type: ignore[arg-type]
        if not count:
            raise BadKnowledge(f"{path.name} holds no {name}.")
        return Found(counts={name: count})

    return look


def _look_obo(path: Path) -> Found:
    ontology = read_obo(path)
    if PHENOTYPE not in ontology.terms or not ontology.version:
        raise BadKnowledge(f"{path.name} is not the Human Phenotype Ontology with its version.")
    return Found(counts={"terms": len(ontology.terms)}, version=ontology.version)


def _look_hpoa(path: Path) -> Found:
    version = ""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("#version:"):
                version = line.partition(":")[2].strip()
            elif not line.startswith("#"):
                columns = line.count("\t") + 1
                break
        else:
            columns = 0
    if not version or columns != _COLUMNS:
        raise BadKnowledge(f"{path.name} is not the HPO's annotation file with its version.")
    profiles = read_hpoa(path)
    return Found(
        counts={
            "diseases": len(profiles),
            "annotations": sum(len(one.annotations) for one in profiles),
        },
        version=version,
    )


KINDS: Mapping[str, Kind] = {
    XREFS: Kind(source="Mondo", licence="CC BY 4.0", look=_counted("codes", read_xrefs)),
    SYNONYMS: Kind(source="Mondo", licence="CC BY 4.0", look=_counted("diseases", read_synonyms)),
    EDGES: Kind(source="Mondo", licence="CC BY 4.0", look=_counted("diseases", read_edges)),
    TEXTS: Kind(
        source="MedQuAD, NCIT, ORDO, Disease Ontology",
        licence="CC BY 4.0 (MedQuAD, NCIT, ORDO), CC0 (Disease Ontology)",
        look=_counted("texts", read_texts),
    ),
    SYMPTOMS: Kind(
        source="Disease Ontology", licence="CC0", look=_counted("diseases", read_symptoms)
    ),
    CONDITIONS: Kind(
        source="DDXPlus", licence="CC BY 4.0", look=_counted("conditions", read_conditions)
    ),
    EVIDENCES: Kind(
        source="DDXPlus", licence="CC BY 4.0", look=_counted("questions", read_questions)
    ),
    SHARES: Kind(source="DDXPlus", licence="CC BY 4.0", look=_counted("conditions", read_shares)),
    OBO: Kind(source="Human Phenotype Ontology", licence=_HPO, look=_look_obo),
    HPOA: Kind(source="Human Phenotype Ontology", licence=_HPO, look=_look_hpoa),
}
"""File name -> what it is."""
