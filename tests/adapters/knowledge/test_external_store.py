"""Added knowledge: checked, taken whole or not at all."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from tests.knowledge_files import EDGES, write_all, write_rows, write_texts, write_xrefs

from ddx.adapters.knowledge.external import KnowledgeStore, Shelf
from ddx.errors import BadKnowledge, KnowledgeInUse


@pytest.fixture
def given(tmp_path: Path) -> Path:
    return write_all(tmp_path / "given")


@pytest.fixture
def store(tmp_path: Path) -> KnowledgeStore:
    return KnowledgeStore(tmp_path / "knowledge")


def state(folder: Path) -> dict[str, bytes]:
    """Every file of a store, but for its lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_nothing_is_in_force_where_nothing_was_added(store: KnowledgeStore) -> None:
    assert store.token() is None
    assert store.current() is None


def test_a_folder_is_copied_with_a_manifest_of_its_own(store: KnowledgeStore, given: Path) -> None:
    shelf = store.add(given)

    assert store.current() == shelf
    assert {item.name: dict(item.counts) for item in shelf.items} == {
        "disease_texts.jsonl.gz": {"texts": 1},
        "doid_has_symptom.tsv.gz": {"diseases": 1},
        "mondo_rare_edges.tsv.gz": {"diseases": 1},
        "mondo_rare_synonyms.tsv.gz": {"diseases": 1},
        "mondo_xref.tsv.gz": {"codes": 4},
    }
    assert all("CC" in item.licence for item in shelf.items)
    assert (
        shelf.files["mondo_xref.tsv.gz"].read_bytes() == (given / "mondo_xref.tsv.gz").read_bytes()
    )
    assert not any(path.stat().st_mode & 0o077 for path in shelf.folder.rglob("*"))


def test_the_same_files_have_the_same_digest(store: KnowledgeStore, given: Path) -> None:
    first = store.add(given)
    assert store.add(given).digest == first.digest


def test_a_second_folder_comes_beside_the_first_and_replaces_files_of_the_same_name(
    store: KnowledgeStore, given: Path, tmp_path: Path
) -> None:
    before = store.add(given)
    more = tmp_path / "more"
    more.mkdir()
    write_rows(more / "mondo_rare_edges.tsv.gz", [*EDGES, ("MONDO:0000001", "MONDO:0000002")])

    after = store.add(more)

    assert after.files.keys() == before.files.keys()
    changed = {name for name, hash in after.digests.items() if before.digests[name] != hash}
    assert changed == {"mondo_rare_edges.tsv.gz"}


def test_files_are_removed_by_name_or_all(store: KnowledgeStore, given: Path) -> None:
    store.add(given)
    left = store.remove(["disease_texts.jsonl.gz"])
    assert left is not None
    assert "disease_texts.jsonl.gz" not in left.files
    assert store.current() == left

    assert store.remove() is None
    assert store.current() is None
    with pytest.raises(BadKnowledge, match="nothing to remove"):
        store.remove()


def test_removing_what_is_not_there_names_it_and_changes_nothing(
    store: KnowledgeStore, given: Path, tmp_path: Path
) -> None:
    store.add(given)
    before = state(tmp_path / "knowledge")
    with pytest.raises(BadKnowledge, match=r"hp\.obo is not among"):
        store.remove(["hp.obo"])
    assert state(tmp_path / "knowledge") == before


def _no_folder(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def _no_known_file(folder: Path) -> None:
    for path in folder.iterdir():
        path.rename(path.with_name("x-" + path.name))


def _not_gzip(folder: Path) -> None:
    (folder / "mondo_xref.tsv.gz").write_text("mondo_id\tlabel\txref\n")


def _half_a_file(folder: Path) -> None:
    path = folder / "disease_texts.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-12])


def _not_utf8(folder: Path) -> None:
    with gzip.open(folder / "mondo_xref.tsv.gz", "wb") as file:
        file.write(b"mondo_id\tlabel\txref\nMONDO:0000001\t\xff\tOMIM:1\n")


def _an_empty_table(folder: Path) -> None:
    write_xrefs(folder, [])


def _another_header(folder: Path) -> None:
    write_rows(folder / "mondo_rare_synonyms.tsv.gz", [("ID", "NAME", "SYNONYMS")])


def _too_few_columns(folder: Path) -> None:
    write_rows(folder / "mondo_rare_edges.tsv.gz", [("MONDO:0000001",)])


def _another_id(folder: Path) -> None:
    write_rows(folder / "mondo_rare_edges.tsv.gz", [("HP:0000001", "MONDO:0000001")])


def _a_text_that_is_none(folder: Path) -> None:
    write_texts(folder, {"id": "MONDO:0000001", "name": "x", "ncit": 7})


def _a_list(folder: Path) -> None:
    write_texts(folder, ["MONDO:0000001"])


def _another_obo(folder: Path) -> None:
    (folder / "hp.obo").write_text("format-version: 1.2\n\n[Term]\nid: HP:0000001\nname: All\n")


def _an_older_hpoa(folder: Path) -> None:
    row = ["OMIM:1", "x", "", "HP:0000118", "PMID:1", "PCS", "", "1/2", "", "", "P", "x"]
    (folder / "phenotype.hpoa").write_text(
        "#version: 2019-01-01\n" + "\t".join(["database_id", *"abcdefghijk"]) + "\n"
        "" + "\t".join(row) + "\n"
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_no_folder, "is not a folder"),
        (_no_known_file, "holds none of the files"),
        (_not_gzip, "cannot be read: BadGzipFile"),
        (_half_a_file, "cannot be read: EOFError"),
        (_not_utf8, "cannot be read: UnicodeDecodeError"),
        (_an_empty_table, "holds no codes"),
        (_another_header, "does not begin with ID, LABEL, SYNONYMS"),
        (_too_few_columns, "line 1: 2 columns are expected"),
        (_another_id, "'HP:0000001' is no Mondo id"),
        (_a_text_that_is_none, "something that is no text"),
        (_a_list, "line 1 is not a disease's texts"),
        (_another_obo, "not the Human Phenotype Ontology with its version"),
        (_an_older_hpoa, "older than the 2025-01-16 that is here"),
    ],
)
def test_a_folder_with_one_bad_file_is_refused_whole(
    store: KnowledgeStore, given: Path, tmp_path: Path, spoil: object, said: str
) -> None:
    store.add(given)
    before = state(tmp_path / "knowledge")
    assert callable(spoil)
    spoil(given)

    with pytest.raises(BadKnowledge, match=said):
        store.add(given)

    assert state(tmp_path / "knowledge") == before


def test_what_cannot_be_made_ready_does_not_come_into_force(
    store: KnowledgeStore, given: Path, tmp_path: Path
) -> None:
    seen: list[Shelf] = []

    def fail(shelf: Shelf) -> None:
        seen.append(shelf)
        raise MemoryError

    with pytest.raises(MemoryError):
        store.add(given, ready=fail)

    assert len(seen) == 1
    assert store.current() is None
    assert state(tmp_path / "knowledge") == {}


def test_two_changes_at_once_are_refused(store: KnowledgeStore, given: Path) -> None:
    def again(shelf: Shelf) -> None:
        with pytest.raises(KnowledgeInUse):
            store.add(given)

    store.add(given, ready=again)


def test_the_set_before_stays_for_a_server_that_still_reads_it(
    store: KnowledgeStore, given: Path
) -> None:
    first = store.add(given)
    second = store.remove(["disease_texts.jsonl.gz"])
    third = store.remove(["mondo_xref.tsv.gz"])

    assert second is not None
    assert third is not None
    assert not first.folder.exists()
    assert second.folder.exists()


def test_a_changed_manifest_is_noticed(store: KnowledgeStore, given: Path) -> None:
    shelf = store.add(given)
    path = shelf.folder / "manifest.json"
    said = json.loads(path.read_text())
    said["files"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(said))

    with pytest.raises(BadKnowledge, match="is not what its name says"):
        store.current()


def test_a_pointer_that_is_no_digest_is_noticed(
    store: KnowledgeStore, given: Path, tmp_path: Path
) -> None:
    store.add(given)
    (tmp_path / "knowledge" / "current").write_text("../../etc\n")
    with pytest.raises(BadKnowledge, match="does not name a set of files"):
        store.token()
