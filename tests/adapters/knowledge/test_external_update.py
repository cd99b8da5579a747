"""Official releases from a server of our own: verified, or nothing changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ddx.adapters.knowledge.external import Addresses, KnowledgeStore, fetch
from ddx.adapters.knowledge.external.mondo import Mondo
from ddx.adapters.knowledge.sources import Sources
from ddx.errors import BadKnowledge, KnowledgeUnreachable

MONDO = """format-version: 1.2
data-version: http://purl.obolibrary.org/obo/mondo/releases/2026-10-06/mondo.obo

[Term]
id: MONDO:0007947
name: Marfan syndrome
synonym: "MFS" EXACT ABBREVIATION [OMIM:154700]
synonym: "Marfan-like" RELATED []
xref: OMIM:154700 {source="MONDO:equivalentTo"}
xref: Orphanet:558 {source="MONDO:equivalentTo"}
xref: GARD:6975 {source="GARD:6975"}
is_a: MONDO:0019042 {source="Orphanet:558"} ! multiple anomalies

[Term]
id: MONDO:0000002
name: obsolete thing
is_obsolete: true
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """What the server has: a small Mondo, and the HPO files that we carry."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "mondo.obo").write_text(MONDO)
    carried = Sources.installed()
    (folder / "hp.obo").symlink_to(carried.obo)
    (folder / "phenotype.hpoa").symlink_to(carried.hpoa)
    return folder


@pytest.fixture
def address(served: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    folder = tmp_path / "draft"
    folder.mkdir()
    return folder


def test_releases_become_files_that_can_be_added(address: str, draft: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    versions = fetch(
        Addresses(mondo=address, hpo=address + "/"),
        draft,
        lambda name, done, size: told.append((name, done, size)),
        fewest=1,
    )
    shelf = KnowledgeStore(tmp_path / "knowledge").add(draft, versions)

    assert {item.name: item.version for item in shelf.items} == {
        "hp.obo": "2025-01-16",
        "mondo_rare_edges.tsv.gz": "2026-10-06",
        "mondo_rare_synonyms.tsv.gz": "2026-10-06",
        "mondo_xref.tsv.gz": "2026-10-06",
        "phenotype.hpoa": "2025-01-16",
    }
    mondo = Mondo.read(shelf.files)
    assert mondo.names("MONDO:0007947") == ("Marfan syndrome", "MFS")
    assert mondo.xrefs["MONDO:0007947"] == ("OMIM:154700", "ORPHA:558")
    assert "MONDO:0000002" not in mondo.labels
    assert {name for name, done, size in told if done == size} == {
        "mondo.obo",
        "hp.obo",
        "phenotype.hpoa",
    }


def test_the_same_release_makes_the_same_files(address: str, tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        fetch(Addresses(mondo=address, hpo=address), folder, fewest=1)
        made.append({path.name: path.read_bytes() for path in folder.glob("mondo*")})
    assert made[0] == made[1]


def test_without_a_network_it_says_which_file_could_not_be_fetched_from_where(draft: Path) -> None:
    addresses = Addresses(mondo="http://127.0.0.1:1", hpo="http://127.0.0.1:1")
    with pytest.raises(
        KnowledgeUnreachable, match=r"mondo\.obo cannot be fetched from 127\.0\.0\.1"
    ):
        fetch(addresses, draft)
    assert list(draft.iterdir()) == []


def test_a_missing_file_is_named_with_the_servers_answer(
    address: str, served: Path, draft: Path
) -> None:
    (served / "hp.obo").unlink()
    with pytest.raises(KnowledgeUnreachable, match=r"127\.0\.0\.1 answers 404 .* hp\.obo"):
        fetch(Addresses(mondo=address, hpo=address), draft, fewest=1)


def test_half_a_mondo_is_refused(address: str, draft: Path) -> None:
    with pytest.raises(BadKnowledge, match="fewer than 20000 diseases"):
        fetch(Addresses(mondo=address, hpo=address), draft)


def test_a_page_in_the_place_of_a_file_is_refused(address: str, served: Path, draft: Path) -> None:
    (served / "mondo.obo").write_text("<html>Sign in to the hotel's network</html>")
    with pytest.raises(BadKnowledge, match="names no release"):
        fetch(Addresses(mondo=address, hpo=address), draft, fewest=1)


def test_only_https_leaves_this_machine(draft: Path) -> None:
    addresses = Addresses(mondo="http://example.org", hpo="http://example.org")
    with pytest.raises(KnowledgeUnreachable, match="not https"):
        fetch(addresses, draft)
