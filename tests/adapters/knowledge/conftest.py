"""A small world of five findings and three diseases, and the engine over the real files."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddx.adapters.knowledge import KnowledgeEngine
from ddx.adapters.knowledge.build import build
from ddx.adapters.knowledge.index import Index
from ddx.adapters.knowledge.model import (
    PHENOTYPE,
    Annotation,
    Disease,
    Ontology,
    Profile,
    Synonym,
    Term,
)

HEAD, SEIZURE, FOCAL, FEVER, RASH = (f"HP:000000{n}" for n in range(1, 6))


def a_term(id: str, name: str, parent: str, *synonyms: str) -> Term:
    return Term(
        id=id,
        name=name,
        parents=(parent,),
        synonyms=tuple(Synonym(text, "EXACT", "") for text in synonyms),
    )


@pytest.fixture(scope="session")
def ontology() -> Ontology:
    terms = [
        Term(id=PHENOTYPE, name="Phenotypic abnormality"),
        a_term(HEAD, "Abnormality of the head", PHENOTYPE),
        a_term(SEIZURE, "Seizure", HEAD, "Fit of the brain"),
        a_term(FOCAL, "Focal seizure", SEIZURE),
        a_term(FEVER, "Fever", HEAD),
        a_term(RASH, "Skin rash", HEAD, "Rash"),
    ]
    return Ontology(version="2000-01-01", terms={t.id: t for t in terms}, moved={"HP:9": FEVER})


@pytest.fixture(scope="session")
def index(ontology: Ontology) -> Index:
    diseases = [
        Disease(
            name="Focal disease",
            profiles=(
                Profile(
                    id="OMIM:1",
                    name="Focal disease",
                    annotations=(
                        Annotation(term=FOCAL, frequency=0.9, reference="PMID:1"),
                        Annotation(term=RASH, excluded=True, reference="PMID:2"),
                    ),
                ),
            ),
        ),
        Disease(
            name="Hot disease",
            profiles=(
                Profile(
                    id="OMIM:2",
                    name="Hot disease",
                    annotations=(
                        Annotation(term=FEVER, frequency=0.9, reference="PMID:3"),
                        Annotation(term=RASH, frequency=0.5, reference="PMID:4"),
                    ),
                    onsets=("HP:0003581",),
                ),
            ),
        ),
        Disease(name="Empty disease", profiles=(Profile(id="OMIM:3", name="Empty disease"),)),
    ]
    arrays, strings = build(ontology, diseases)
    return Index(arrays, strings, "0" * 64, ontology.version)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all workers of a run: making the index takes seconds."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if base.name.startswith("popen-") else base) / "knowledge"


@pytest.fixture(scope="session")
def engine(cache_dir: Path) -> KnowledgeEngine:
    return KnowledgeEngine.open(cache_dir)
