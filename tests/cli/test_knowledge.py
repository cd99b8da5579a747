"""`ddx knowledge`: what it shows, and that a command that fails changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.knowledge_files import write_all

from ddx.cli import run
from ddx.cli.exits import EXIT_CODE


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home that no release can be fetched from."""
    for name, value in (
        ("DDX_HOME", str(tmp_path)),
        ("DDX_MONDO_URL", "http://127.0.0.1:1"),
        ("DDX_HPO_URL", "http://127.0.0.1:1"),
    ):
        monkeypatch.setenv(name, value)
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["knowledge", *args, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_it_shows_names_versions_licences_and_counts_before_and_after_a_pack_was_added(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = shown(capsys)
    after = shown(capsys, "add", str(write_all(tmp_path / "given")))

    assert before["version"] == "2025-01-16"
    assert before["added"] == []
    assert all(one["source"] and one["licence"] for one in after["sources"])
    assert {one["name"] for one in after["added"]} == {
        path.name for path in (tmp_path / "given").iterdir()
    }
    assert (before["counts"]["texts"], after["counts"]["texts"]) == (0, 3)
    assert before["digest"] != after["digest"]
    assert "Human Phenotype Ontology Consortium" in after["acknowledgement"]

    assert run(["knowledge"]) == 0
    printed = capsys.readouterr().out
    assert "mondo_xref.tsv.gz" in printed
    assert "CC BY 4.0" in printed

    assert shown(capsys, "remove")["digest"] == before["digest"]


def test_a_folder_without_a_known_file_says_which_names_are_known(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["knowledge", "add", str(tmp_path)]) == EXIT_CODE["bad_knowledge"]
    said = capsys.readouterr().err
    assert "mondo_xref.tsv.gz" in said
    assert "Nothing was changed" in said


def test_without_a_network_an_update_fails_with_a_sentence_and_leaves_all_as_it_was(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["knowledge", "update"]) == EXIT_CODE["knowledge_unreachable"]
    said = capsys.readouterr().err
    assert "mondo.obo cannot be fetched from 127.0.0.1" in said
    assert "ddx knowledge add FOLDER" in said
    assert not (home / "ddx_data" / "knowledge").exists()
    assert list((home / "ddx_data").iterdir()) == []
