"""A backup that is made while everything runs restores to an installation that verifies."""

from __future__ import annotations

import json
import sqlite3
import tarfile
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.backups import CANARY, Cli, told
from tests.tracking_server import Tracking

from ddx.adapters.sqlite_journal import SqliteJournal, SqliteJournalReader
from ddx.cli.exits import EXIT_CODE
from ddx.core.record import Prediction
from ddx.errors import BadBackup, Erased, OutputRefused
from ddx.settings import Settings
from ddx.wiring import auditing, restoring
from ddx.wiring.backing_up import back_up

pytest.importorskip("mlflow", reason="needs the extra `tracking`")


def test_a_restored_installation_is_equal_and_stands_by_itself(
    home: tuple[Settings, list[Prediction]], tmp_path: Path, tracking: Tracking
) -> None:
    loaded, made = home
    back_up(loaded, str(tmp_path / "b.tar.gz"))
    before = sorted(Path(tracking.artifacts_path).rglob("*"))

    found = restoring.restore([str(tmp_path / "b.tar.gz")], tmp_path / "new")

    assert found.ok, found.differences
    assert (found.predictions, found.erased, found.mlflow) == (3, 0, True)
    files = tmp_path / "new" / "mlflow_data" / "artifacts"
    assert (files / "77" / "report.txt").read_text() == "figures"
    assert len(list(files.rglob("record.json"))) == 3
    assert sorted(Path(tracking.artifacts_path).rglob("*")) == before  # the old one is untouched
    with closing(sqlite3.connect(tmp_path / "new" / "mlflow_data" / "mlflow.db")) as db:
        (uris,) = db.execute("select group_concat(artifact_uri) from runs").fetchone()
        tags = db.execute("select value from tags where key = 'ddx.true_diagnosis'").fetchall()
    assert uris.count(str(files)) == 3
    assert tags == [(CANARY,)]
    with closing(SqliteJournalReader(tmp_path / "new" / "ddx_data", "main")) as reader:
        assert list(reader.predictions([one.id for one in made])) == made


def test_without_its_keys_a_backup_tells_nothing_of_a_patient(
    home: tuple[Settings, list[Prediction]], tmp_path: Path
) -> None:
    made = back_up(home[0], str(tmp_path / "b.tar"))
    path, keys = Path(made.path), Path(made.keys)
    assert CANARY.encode() not in path.read_bytes()
    assert [oct(one.stat().st_mode & 0o777) for one in (path, keys)] == ["0o600"] * 2
    keys.unlink()
    with pytest.raises(BadBackup):
        restoring.restore([made.path], tmp_path / "new")


def test_what_was_erased_since_is_erased_in_the_backup_with_the_newer_keys(
    home: tuple[Settings, list[Prediction]], tmp_path: Path, cli: Cli
) -> None:
    loaded, made = home
    first = back_up(loaded, str(tmp_path / "first.tar"))
    assert cli(loaded, "erase", made[0].id, "--yes")[0] == 0
    second = back_up(loaded, str(tmp_path / "second.tar"))
    restored = restoring.restore([first.path], tmp_path / "new", second.keys)
    assert (restored.predictions, restored.erased) == (2, 1)
    with (
        closing(SqliteJournalReader(tmp_path / "new" / "ddx_data", "main")) as reader,
        pytest.raises(Erased),
    ):
        reader.find(made[0].id)


def test_a_backup_under_load_is_whole(
    home: tuple[Settings, list[Prediction]], tmp_path: Path
) -> None:
    loaded, _ = home
    stop = threading.Event()
    kept: list[Prediction] = []

    def write() -> None:
        with closing(SqliteJournal(loaded.data, "main")) as journal:
            while not stop.is_set():
                kept.append(told())
                journal.accept(kept[-1], None).result()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while len(kept) < 20:
            pass
        made = back_up(loaded, str(tmp_path / "b.tar"))
    finally:
        stop.set()
        thread.join()
    found = restoring.drill([made.path])
    assert found.ok, found.differences
    assert 3 + 19 <= found.predictions <= 3 + len(kept)
    assert found.events == sum(made.manifest.events.values())
    assert not list(tmp_path.glob(".ddx-*"))


def test_a_changed_byte_and_a_cut_are_found(
    home: tuple[Settings, list[Prediction]], tmp_path: Path, cli: Cli
) -> None:
    loaded, _ = home
    path = tmp_path / "b.tar"
    assert cli(loaded, "backup", path)[0] == 0
    code, out, _ = cli(loaded, "backup", "verify", path, "--json")
    assert (code, json.loads(out)["ok"]) == (0, True)
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        member = tar.getmember("data/journals/main.db")
        place = member.offset_data + member.size // 2
    for damaged in (whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :], whole[:place]):
        path.write_bytes(damaged)
        code, _, err = cli(loaded, "backup", "verify", path)
        assert code == EXIT_CODE["bad_backup"]
        assert CANARY not in err
        with pytest.raises(BadBackup):
            restoring.restore([str(path)], tmp_path / "new")
        assert not list((tmp_path / "new").iterdir())


def test_nothing_is_overwritten(
    home: tuple[Settings, list[Prediction]], tmp_path: Path, cli: Cli
) -> None:
    loaded, _ = home
    made = back_up(loaded, str(tmp_path / "b.tar"))
    with pytest.raises(OutputRefused):
        back_up(loaded, str(tmp_path / "b.tar"))
    assert (
        cli(loaded, "restore", made.path, "--into", loaded.home)[0] == EXIT_CODE["output_refused"]
    )
    assert cli(loaded, "restore", made.path)[0] == 2
    code, out, _ = cli(loaded, "restore", made.path, "--drill", "--json")
    assert (code, json.loads(out)["ok"]) == (0, True)


def test_doors_and_the_trail_of_looks_come_back_and_secrets_are_in_the_second_file(
    home: tuple[Settings, list[Prediction]], tmp_path: Path, cli: Cli
) -> None:
    loaded, _ = home
    key = json.loads(cli(loaded, "keys", "create", "--role", "read", "--json")[1])
    (loaded.data / "mlflow_auth").mkdir()
    (loaded.data / "mlflow_auth" / "password").write_text("of MLflow")
    assert cli(loaded, "export", "cases", "--out", tmp_path / "c.jsonl")[0] == 0
    auditing.sign_checkpoint(loaded)
    assert cli(loaded, "backup", tmp_path / "b.tar")[0] == 0
    with tarfile.open(tmp_path / "b.tar") as whole:
        names = " ".join(whole.getnames())
    assert "access/" in names
    assert "api_keys" not in names
    assert "mlflow_auth" not in names

    found = restoring.restore([str(tmp_path / "b.tar")], tmp_path / "new")

    assert found.ok, found.differences
    new = replace(loaded, home=tmp_path / "new", data_dir="ddx_data")
    assert [one["id"] for one in json.loads(cli(new, "keys", "list", "--json")[1])] == [key["id"]]
    assert (new.data / "mlflow_auth" / "password").read_text() == "of MLflow"
    assert cli(new, "audit", "verify")[0] == 0
    acts = [one["act"] for one in json.loads(cli(new, "audit", "--json")[1])]
    assert acts == ["backup", "export"]


def test_a_backup_of_a_home_with_certificates_restores_where_they_are_not(
    home: tuple[Settings, list[Prediction]], tmp_path: Path, cli: Cli
) -> None:
    loaded, _ = home
    toml = loaded.home / "ddx.toml"
    named = {"tls_cert_file": "tls/cert.pem", "tls_key_file": "/nowhere/key.pem"}
    toml.write_text(
        (toml.read_text() if toml.is_file() else "")
        + "".join(f"{name} = {file!r}\n" for name, file in named.items())
    )
    back_up(loaded, str(tmp_path / "b.tar"))
    found = restoring.restore([str(tmp_path / "b.tar")], tmp_path / "new")
    assert (found.ok, found.predictions) == (True, 3)
    assert found.missing == [f"{name} = {file}" for name, file in named.items()]
    toml.unlink()
    code, said, _ = cli(loaded, "restore", str(tmp_path / "b.tar"), "--into", str(tmp_path / "two"))
    assert code == 0
    assert "in no backup: tls_cert_file = tls/cert.pem: put it there" in said


def test_a_restore_that_fails_leaves_its_folder_empty(
    home: tuple[Settings, list[Prediction]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(home[0], str(tmp_path / "b.tar"))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(restoring, "deliver", full)
    with pytest.raises(OSError, match="No space"):
        restoring.restore([str(tmp_path / "b.tar")], tmp_path / "new")
    monkeypatch.undo()
    assert list((tmp_path / "new").iterdir()) == []
    assert restoring.restore([str(tmp_path / "b.tar")], tmp_path / "new").ok
