"""DDXPlus's tables as added knowledge: its conditions are ranked beside all others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ddx.adapters.knowledge.build import build
from ddx.adapters.knowledge.external import KnowledgeStore
from ddx.adapters.knowledge.external.ddxplus import CONDITIONS, EVIDENCES, SHARES
from ddx.adapters.knowledge.external.library import Library
from ddx.adapters.knowledge.index import Index
from ddx.adapters.knowledge.merge import merge
from ddx.adapters.knowledge.model import Ontology
from ddx.adapters.knowledge.text import read_text
from ddx.errors import BadKnowledge

FILES: dict[str, Any] = {
    CONDITIONS: {
        "Hot": {"cond-name-eng": "Hot disease", "icd10-id": "r50"},
        "Sore": {"cond-name-eng": "Sore disease", "icd10-id": ""},
    },
    EVIDENCES: {
        "E_1": {"name": "E_1", "question_en": "Do you have a fever (measured or felt)?"},
        "E_2": {"name": "E_2", "question_en": "Do you feel pain somewhere?"},
        "E_3": {"name": "E_3", "question_en": "Characterize your pain:"},
    },
    SHARES: {
        "probabilities": {
            "Hot disease": {"E_1": 0.9, "E_2": 0.0, "E_3": 0.1},
            "Sore disease": {"E_2": 1.0},
        }
    },
}


def written(folder: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in (FILES | changes).items():
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.fixture
def asking(tmp_path: Path, ontology: Ontology) -> Index:
    shelf = KnowledgeStore(tmp_path / "store").add(written(tmp_path / "given"))
    library = Library.read(shelf.files)
    diseases = merge(library.widened(library.ddxplus.profiles))
    arrays, strings = build(library.extend(ontology), diseases, asked=library.ddxplus.asked)
    return Index(arrays, strings, "0" * 64, ontology.version)


def test_conditions_have_the_shares_of_their_table(asking: Index) -> None:
    fever, pain = asking.rows["DDXPLUS:E_1"], asking.rows["DDXPLUS:E_2"]
    hot, sore = 0, 1
    assert [asking.disease_name(n) for n in (hot, sore)] == ["Hot disease", "Sore disease"]
    assert asking.probability(fever, hot) == pytest.approx(0.9)
    assert asking.probability(pain, hot) == 0.0
    assert asking.probability(pain, sore) == pytest.approx(1.0)
    assert ("ICD-10:R50", "Hot disease") in asking.disease_codes(hot)


@pytest.mark.parametrize(
    ("text", "present", "absent"),
    [
        (
            "31-year-old man. Do you have a fever (measured or felt)? yes. Do you feel pain"
            " somewhere? forehead, temple(R). Characterize your pain: sharp.",
            {
                "DDXPLUS:E_1": "Do you have a fever (measured or felt)? yes",
                "DDXPLUS:E_2": "Do you feel pain somewhere? forehead, temple(R)",
                "DDXPLUS:E_3": "Characterize your pain: sharp",
            },
            [],
        ),
        ("Do you feel pain somewhere? no.", {}, ["DDXPLUS:E_2"]),
        ("Has a fever (measured or felt). Rash.", {"DDXPLUS:E_1": "", "HP:0000005": "Rash"}, []),
        ("Has a fever since noon.", {"HP:0000004": "fever"}, []),
    ],
    ids=["questions", "no", "statements", "prose"],
)
def test_answers_are_read_as_their_questions_mean_them(
    asking: Index, text: str, present: dict[str, str], absent: list[str]
) -> None:
    case = read_text(asking, text)
    found = {asking.term_id(one.term): text[one.start or 0 : one.end] for one in case.present}
    assert found.keys() == present.keys()
    assert all(found[id] == quote for id, quote in present.items() if quote)
    assert [asking.term_id(one.term) for one in case.absent] == absent


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    given = written(tmp_path / "given", **{SHARES: {"probabilities": {"Hot disease": {"E_1": 2}}}})
    with pytest.raises(BadKnowledge, match="from 0 to 1"):
        KnowledgeStore(tmp_path / "store").add(given)
