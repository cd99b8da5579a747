"""`ddx verify` of two machines that share one MLflow."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.make import finished

from ddx.adapters.sqlite_journal import SqliteJournal
from ddx.cli import run
from ddx.core.record import Prediction


class Machines:
    """Homes with one record each, both delivered into one store."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._monkeypatch = folder, monkeypatch
        self.records: dict[str, Prediction] = {}
        for name in ("a", "b"):
            home = folder / name
            home.mkdir()
            (home / "mlflow_server_config.py").write_text(
                f"db_uri = 'sqlite:///{folder}/mlflow.db'\nartifacts_path = '{folder}/artifacts'\n"
            )
            (home / "ddx.toml").write_text("delivery = 'bulk'\n")
            self.records[name] = finished()
            with closing(SqliteJournal(home / "ddx_data", "main")) as journal:
                journal.accept(self.records[name], None).result()
            assert self.ddx(name, "deliver", "--once") == 0

    def ddx(self, name: str, *words: str) -> int:
        """Run a command on a machine; return its exit code."""
        self._monkeypatch.setenv("DDX_HOME", str(self.folder / name))
        return run(list(words))


@pytest.fixture
def machines(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return Machines(tmp_path, monkeypatch)


def verified(
    machines: Machines, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = machines.ddx("a", "verify", "--json", *words)
    return code, json.loads(capsys.readouterr().out)


def test_each_machine_says_what_it_holds_and_the_other_one_finds_no_difference(
    machines: Machines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = tmp_path / "b.ids"
    assert machines.ddx("b", "verify", "--no-mlflow", "--ids-to", str(ids)) == 0
    assert machines.records["b"].id in ids.read_text()
    assert ids.stat().st_mode & 0o077 == 0

    code, found = verified(machines, capsys, "--others", str(ids))
    assert (code, found["predictions"], found["elsewhere"]) == (0, 1, 1)

    lines = ids.read_text().splitlines()
    ids.write_text(f"2200-01-01T00:00:00+00:00\n{lines[1][:-4]}0000\n")
    code, found = verified(machines, capsys, "--others", str(ids))
    assert code == 1
    assert [one["where"] for one in found["differences"]] == [machines.records["b"].id]


def test_without_the_others_their_runs_are_counted_where_claims_are_shared(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verified(machines, capsys)[0] == 1, "nothing says that there is another machine"
    monkeypatch.setenv("DDX_CLAIMS_URI", "postgresql://ddx@127.0.0.1/ddx")
    key = machines.folder / "claims.key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    monkeypatch.setenv("DDX_CLAIMS_KEY_FILE", str(key))
    code, found = verified(machines, capsys)
    assert (code, found["elsewhere"]) == (0, 1)
    assert machines.ddx("a", "verify") == 0
    assert "1 runs have no record on this machine: with --others" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("yesterday\n", "its first line is not the time"),
        ("2026-01-01T00:00:00\n", "its first line is not the time"),
        ("2026-01-01T00:00:00+00:00\nfever\n", "line 2 is no id"),
    ],
)
def test_another_file_is_refused(
    text: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.ids").write_text(text)
    assert run(["verify", "--others", str(tmp_path / "b.ids")]) == 2
    said = capsys.readouterr().err
    assert why in said
    assert "ddx verify --ids-to" in said


def test_a_file_that_is_there_stays_as_it_is(
    machines: Machines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.ids").write_text("mine")
    assert machines.ddx("b", "verify", "--ids-to", str(tmp_path / "b.ids")) == 65
    assert (tmp_path / "b.ids").read_text() == "mine"
    capsys.readouterr()
