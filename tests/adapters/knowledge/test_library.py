"""What added files change: which profiles are one disease, its names, codes and texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.knowledge_files import write_all, write_xrefs

from ddx.adapters.knowledge.external.library import Library
from ddx.adapters.knowledge.merge import merge
from ddx.adapters.knowledge.model import Profile

OMIM = Profile(id="OMIM:154700", name="MARFAN SYNDROME; MFS")
ORPHA = Profile(id="ORPHA:558", name="Marfan's disease")
OTHER = Profile(id="OMIM:2", name="Another disease")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_all(tmp_path)


def read(folder: Path) -> Library:
    return Library.read({path.name: path for path in folder.iterdir()})


def test_profiles_that_mondo_equals_become_one_disease_with_one_mondo_code(folder: Path) -> None:
    library = read(folder)
    profiles = library.widened((OMIM, ORPHA, OTHER))
    diseases = merge(profiles, library.same(profiles))

    assert [[one.id for one in disease.profiles] for disease in diseases] == [
        ["ORPHA:558", "OMIM:154700"],
        ["OMIM:2"],
    ]
    assert profiles[0].codes == (
        ("MONDO:0007947", "Marfan syndrome"),
        ("ICD-10-CM:Q87.4", "Marfan syndrome"),
    )
    assert "MFS1" in profiles[1].aliases
    assert profiles[2] == OTHER


def test_of_two_profiles_of_one_source_the_one_that_bears_the_name_is_it(folder: Path) -> None:
    write_xrefs(
        folder,
        [
            ("MONDO:0007947", "Marfan syndrome", "ORPHA:558"),
            ("MONDO:0007947", "Marfan syndrome", "ORPHA:284963"),
        ],
    )
    named = Profile(id="ORPHA:284963", name="Syndrome, Marfan")
    assert read(folder).same([ORPHA, named]) == {"ORPHA:284963": "MONDO:0007947"}


def test_a_code_that_equals_two_diseases_is_neither(folder: Path) -> None:
    write_xrefs(
        folder,
        [
            ("MONDO:0000001", "blue fever", "OMIM:154700"),
            ("MONDO:0000002", "red fever", "OMIM:154700"),
        ],
    )
    assert read(folder).same([OMIM]) == {}


def test_a_profile_that_mondo_does_not_list_is_known_by_its_name(folder: Path) -> None:
    named = Profile(id="OMIM:99", name="Blue fever")
    assert read(folder).same([named]) == {"OMIM:99": "MONDO:0000001"}


def test_texts_are_found_under_every_id_of_a_disease(folder: Path) -> None:
    library = read(folder)
    diseases = merge((OMIM, OTHER))
    written = {disease.name: library.texts_of(disease) for disease in diseases}
    assert written == {
        "MARFAN SYNDROME; MFS": ("Long limbs and weak lenses.", "tall stature", "long fingers"),
        "Another disease": (),
    }
    assert library.other_texts(diseases) == ()
    assert library.other_texts([]) == ("Long limbs and weak lenses. tall stature long fingers",)


def test_without_files_nothing_changes() -> None:
    library = Library.read({})
    assert library.widened((OMIM, ORPHA)) == (OMIM, ORPHA)
    assert library.same((OMIM, ORPHA)) == {}
    assert library.texts_of(merge((OMIM,))[0]) == ()
