"""Each form of a file of cases, and what is said of a line that is none."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ddx.adapters.casesets import read, read_evidences, read_relations
from ddx.core.caseset import Case, CaseSet, Published, Truth
from ddx.core.record import Findings
from ddx.errors import BadCases

EVIDENCES = {
    "E_91": {"question_en": "Do you have a fever?", "value_meaning": {}},
    "E_55": {
        "question_en": "Do you feel pain somewhere?",
        "value_meaning": {"V_1": {"en": "forehead"}, "V_2": {"en": "nowhere"}},
    },
}
PHENOPACKET: dict[str, Any] = {
    "id": "p",
    "subject": {"sex": "FEMALE", "timeAtLastEncounter": {"age": {"iso8601duration": "P3Y"}}},
    "phenotypicFeatures": [
        {"type": {"id": "HP:0001250", "label": "Seizure"}},
        {"type": {"id": "HP:0001251"}, "excluded": True},
        {"type": {"id": "NCIT:C1"}},
    ],
    "interpretations": [{"diagnosis": {"disease": {"id": "OMIM:1", "label": "One disease"}}}],
}


def cases_of(path: Path, knowledge: Path | None = None) -> CaseSet:
    return read(path, lambda: read_evidences(knowledge))


def one(path: Path, text: str, knowledge: Path | None = None) -> Case:
    path.write_text(text)
    (case,) = cases_of(path, knowledge).cases
    return case


@pytest.fixture
def knowledge(tmp_path: Path) -> Path:
    folder = tmp_path / "knowledge"
    folder.mkdir()
    (folder / "ddxplus_release_evidences.json").write_text(json.dumps(EVIDENCES))
    return folder


def test_a_json_line_is_a_case_with_its_flags_and_published_ranks(tmp_path: Path) -> None:
    line = {
        "id": "a",
        "present": ["HP:0001250"],
        "absent": [],
        "sex": "F",
        "age": 3,
        "truth": {"name": "One", "ids": ["OMIM:1"]},
        "in_kb": True,
        "pmid_in_kb": False,
        "gpt4o_rank": None,
        "published_frq_accuracy": {"gpt4": 0.4},
        "differential": [["Two", 0.5]],
    }

    assert one(tmp_path / "x.jsonl", json.dumps(line)) == Case(
        id="a",
        findings=Findings(present=("HP:0001250",), sex="FEMALE", age="P3Y"),
        truth=Truth(name="One", ids=("OMIM:1",)),
        flags={"in_kb": True, "pmid_in_kb": False},
        published={"gpt4o": Published(rank=None), "gpt4": Published(top_1=0.4)},
    )


def test_a_table_has_the_same_columns(tmp_path: Path) -> None:
    head = "id,case_text,present,truth,truth_ids,name_in_text\n"

    found = one(tmp_path / "x.csv", head + 'a,"fever, cough",,Flu,MONDO:1|ICD10:J11,yes\n')
    assert found.text == "fever, cough"
    assert found.truth == Truth(name="Flu", ids=("MONDO:1", "ICD10:J11"))
    assert found.flags == {"name_in_text": True}

    tabs = head.replace(",", "\t") + "a\t\tHP:0001250|HP:0001251\tFlu\t\t\n"
    assert one(tmp_path / "x.tsv", tabs).findings == Findings(present=("HP:0001250", "HP:0001251"))


def test_a_folder_of_phenopackets_is_a_set_named_like_their_files(tmp_path: Path) -> None:
    folder = tmp_path / "packets"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "PMID_1.json").write_text(json.dumps(PHENOPACKET, indent=1))

    found = cases_of(folder)

    assert found.name == "packets"
    assert found.cases == (
        Case(
            id="PMID_1",
            findings=Findings(
                present=("HP:0001250",), absent=("HP:0001251",), sex="FEMALE", age="P3Y"
            ),
            truth=Truth(name="One disease", ids=("OMIM:1",)),
        ),
    )
    assert cases_of(folder / "inner" / "PMID_1.json").cases == found.cases


def test_the_truth_of_a_phenopacket_without_interpretation_is_its_disease(tmp_path: Path) -> None:
    diseases = [
        {"term": {"id": "OMIM:2"}, "excluded": True},
        {"term": {"id": "OMIM:3", "label": "Three"}},
    ]
    packet = {**PHENOPACKET, "interpretations": [], "diseases": diseases}

    found = one(tmp_path / "x.json", json.dumps(packet))
    assert found.truth == Truth(name="Three", ids=("OMIM:3",))


def test_the_public_sets_are_read_as_they_are_published(tmp_path: Path, knowledge: Path) -> None:
    craft = one(
        tmp_path / "craft.csv",
        ",case_vignette,choice_1,answer,category,dataset,case_id\n"
        "0,Fever for 3 days.,Flu,Dengue,x,y,case_0\n",
    )
    assert (craft.id, craft.text) == ("craftmd:case_0", "Fever for 3 days.")
    assert craft.truth == Truth(name="Dengue")

    plus = one(
        tmp_path / "release_test_patients",
        "AGE,DIFFERENTIAL_DIAGNOSIS,SEX,PATHOLOGY,EVIDENCES,INITIAL_EVIDENCE\n"
        "31,\"[['Flu', 0.5]]\",F,Flu,\"['E_91', 'E_55_@_V_1', 'E_55_@_V_2']\",E_91\n",
        knowledge,
    )
    assert plus.text == "31-year-old female. Has a fever. Has pain somewhere: forehead."

    osce = {
        "Patient_Actor": {"Demographics": "35-year-old", "Symptoms": {"Primary_Symptom": "Pain"}},
        "Test_Results": {"Chest_CT": {"Findings": "Normal."}},
        "Correct_Diagnosis": "Flu",
    }
    agent = one(tmp_path / "agent.jsonl", json.dumps({"OSCE_Examination": osce}))
    assert agent.text == "Demographics: 35-year-old. Primary Symptom: Pain. Chest CT: Normal."
    assert agent.truth == Truth(name="Flu")


def test_codes_of_ddxplus_become_sentences_where_a_case_has_no_text(
    tmp_path: Path, knowledge: Path
) -> None:
    line = {"id": "a", "age": 31, "sex": "M", "evidences": ["E_91"], "truth": {"name": "Flu"}}

    found = one(tmp_path / "x.jsonl", json.dumps(line), knowledge)
    assert found.text == "31-year-old male. Has a fever."
    with pytest.raises(BadCases, match="--knowledge"):
        cases_of(tmp_path / "x.jsonl")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 1: this is not JSON, column 2"),
        ("[1]", "line 1: a case must be a JSON object"),
        ('{"case_text": "secret"}', "line 1: a case needs an `id`"),
        ('{"id": "a", "case_text": "secret"}', "line 1: a case needs `truth`"),
        ('{"id": "a", "truth": "Flu"}', "line 1: a case needs `case_text`, or HPO ids"),
        ('{"id": "a", "present": ["HP:1"], "truth": "Flu"}', "`present` must hold HPO ids"),
        ('{"id": "a", "case_text": 5, "truth": "Flu"}', "`case_text` must be a text"),
        ('{"id": "a", "case_text": "b", "truth": {"ids": ["1"]}}', "its terminology"),
        ('{"id": "a", "case_text": "b", "truth": "c"}\n' * 2, "line 2: .* also at .*line 1"),
        ("", "holds no case"),
        ("a,b\n1,2\n", "line 1: the columns `id` and `truth` are missing"),
        ("id,truth,case_text\n1,2\n", "line 2: the row does not have 3 columns"),
    ],
)
def test_a_bad_line_is_named_and_not_quoted(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x"
    path.write_text(text)

    with pytest.raises(BadCases, match=said) as error:
        cases_of(path)
    assert "secret" not in str(error.value)


def test_what_is_not_there_or_no_text_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadCases, match="there is no file or folder"):
        cases_of(tmp_path / "none")
    with pytest.raises(BadCases, match=r"holds no \.json file"):
        cases_of(tmp_path)
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    with pytest.raises(BadCases, match="not UTF-8"):
        cases_of(tmp_path / "x")
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(BadCases, match="is no phenopacket"):
        cases_of(tmp_path)


def test_the_digest_follows_what_is_asked_and_what_is_true(tmp_path: Path) -> None:
    def digest(**changes: Any) -> str:
        line = {"id": "a", "case_text": "fever", "truth": {"name": "Flu"}, **changes}
        return CaseSet(name="x", cases=(one(tmp_path / "x.jsonl", json.dumps(line)),)).digest

    assert digest() == digest(source="elsewhere")
    assert len({digest(), digest(case_text="cough"), digest(truth="Cold"), digest(id="b")}) == 4


def test_mondo_gives_equals_parents_and_members_of_series(tmp_path: Path) -> None:
    xrefs = "mondo_id\tlabel\txref\nMONDO:1\ta\tOMIM:5\nMONDO:1\ta\tmesh:D1\nMONDO:9\tb\tOMIMPS:3\n"
    with gzip.open(tmp_path / "mondo_xref.tsv.gz", "wt") as file:
        file.write(xrefs)
    with pytest.raises(BadCases, match=r"needs mondo_rare_edges\.tsv\.gz"):
        read_relations(tmp_path)
    with gzip.open(tmp_path / "mondo_rare_edges.tsv.gz", "wt") as file:
        file.write("MONDO:1\tMONDO:8\nMONDO:8\tMONDO:9\n")

    found = read_relations(tmp_path)

    assert found.equivalents == {"OMIM:5": {"MONDO:1"}}
    assert found.parents["MONDO:1"] == {"MONDO:8"}
    assert found.members == {"MONDO:9": {"MONDO:1", "MONDO:8"}}


def test_each_public_set_at_hand_is_read(data: Path) -> None:
    paths = [p for p in sorted((data / "cases").glob("*.jsonl")) if "pairs" not in p.name]

    for path in paths:
        found = cases_of(path, data / "knowledge").cases
        assert len(found) == len(path.read_text().splitlines()), path.name
        assert all(case.text or case.findings for case in found)
