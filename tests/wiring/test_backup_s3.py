"""A backup goes to an object store as a stream; it is verified, drilled and restored from there."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.backups import CANARY, Cli
from tests.object_store import Store, a_store
from tests.wiring.test_backup_chain import written

from ddx.adapters.archive import object_store
from ddx.cli.exits import EXIT_CODE
from ddx.core.record import Prediction
from ddx.errors import OutputRefused
from ddx.settings import Settings
from ddx.wiring import backing_up, restoring

pytest.importorskip("mlflow", reason="needs the extra `tracking`")
pytest.importorskip("smart_open", reason="needs smart_open")
Home = tuple[Settings, list[Prediction]]
BIG = 24 << 20


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with a_store(tmp_path / "store") as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(object_store, "_PART_BYTES", 5 << 20)  # S3's smallest
        yield running


def objects(store: Store) -> list[str]:
    """Each that has its name: rclone keeps parts under one of its own."""
    found = [one for one in store.bucket.rglob("*") if one.is_file() and one.name[0] != "."]
    return sorted(str(one.relative_to(store.bucket)) for one in found)


def test_a_chain_in_an_object_store_is_verified_drilled_and_restored(
    home: Home, tmp_path: Path, store: Store, cli: Cli
) -> None:
    loaded, made = home
    keys = tmp_path / "keys"
    keys.mkdir()
    whole = "s3://bucket/ddx/whole.tar"
    assert cli(loaded, "backup", whole, "--keys-to", keys)[0] == 0
    later = written(loaded)
    code, out, _ = cli(
        *(loaded, "backup", "s3://bucket/ddx/one.tar.gz", "--since", "latest"),
        *("--keys-to", "s3://bucket/keys/one.keys", "--json"),
    )
    told = json.loads(out)
    assert (code, told["path"]) == (0, "s3://bucket/ddx/one.tar.gz")
    assert told["keys"] == "s3://bucket/keys/one.keys"
    assert objects(store) == ["ddx/one.tar.gz", "ddx/whole.tar", "keys/one.keys"]
    assert [one.name for one in keys.iterdir()] == ["whole.tar.keys"]

    last = ("s3://bucket/ddx/one.tar.gz", "--keys", "s3://bucket/keys/one.keys")
    assert cli(loaded, "backup", "verify", *last)[0] == 0
    assert cli(loaded, "restore", *last, "--drill")[0] == 0
    found = restoring.restore([last[0]], tmp_path / "new", last[2])
    assert found.ok, found.differences
    assert (found.backups, found.predictions) == (2, len(made) + len(later))
    assert CANARY.encode() not in (store.bucket / "ddx" / "whole.tar").read_bytes()

    object_store.ObjectPlace(whole).remove()
    code, _, err = cli(loaded, "restore", *last, "--drill")
    assert code == EXIT_CODE["bad_backup"]
    assert "whole.tar is not beside it" in err


def test_many_parts_go_up_and_come_back_as_they_were_and_no_copy_stays_on_the_disk(
    home: Home, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, _ = home
    write, on_disk = object_store._Upload.write, [0]
    folders = (loaded.home, tmp_path / "tmp")
    folders[1].mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folders[1]))

    def in_folders() -> int:
        return sum(
            one.stat().st_size for folder in folders for one in folder.rglob("*") if one.is_file()
        )

    def seen(self: Any, data: bytes) -> int:
        on_disk.append(in_folders() - before)
        return write(self, data)

    monkeypatch.setattr(object_store._Upload, "write", seen)
    big = loaded.data / "evaluations" / "big.bin"
    big.parent.mkdir()
    big.write_bytes(os.urandom(BIG))
    before = in_folders()
    made = backing_up.back_up(loaded, "s3://bucket/whole.tar")
    assert made.size_bytes > BIG
    assert len(on_disk) > 20
    assert max(on_disk) < BIG / 8  # SQLite's copy of one database at most
    assert not [one for one in loaded.data.iterdir() if one.name.startswith(".ddx-")]
    restoring.restore([made.path], tmp_path / "new")
    back = tmp_path / "new" / "ddx_data" / "evaluations" / "big.bin"
    assert back.read_bytes() == big.read_bytes()


def test_nothing_is_written_over(home: Home, store: Store, cli: Cli) -> None:
    loaded, _ = home
    (store.bucket / "whole.tar").write_text("somebody's")
    code, _, err = cli(loaded, "backup", "s3://bucket/whole.tar")
    assert code == EXIT_CODE["output_refused"]
    assert "is there already" in err
    assert (store.bucket / "whole.tar").read_text() == "somebody's"
    assert objects(store) == ["whole.tar"]


def test_a_backup_that_fails_on_its_way_leaves_nothing(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, _ = home
    (loaded.data / "evaluations").mkdir()
    (loaded.data / "evaluations" / "big.bin").write_bytes(os.urandom(BIG))

    def refuses(*_: Any) -> None:
        # By now several parts have gone up.
        raise OutputRefused("the disk is full")

    monkeypatch.setattr(backing_up, "_put_journals", refuses)
    with pytest.raises(OutputRefused, match="the disk is full"):
        backing_up.back_up(loaded, "s3://bucket/whole.tar")
    assert objects(store) == []


def test_a_store_that_goes_away_leaves_nothing_and_is_said(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    loaded, _ = home
    # Both try again for a minute otherwise.
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("smart_open.s3.RETRY.sleep_seconds", 0)
    monkeypatch.setattr(object_store, "_PART_BYTES", 5 << 20)
    (loaded.data / "evaluations").mkdir()
    (loaded.data / "evaluations" / "big.bin").write_bytes(os.urandom(BIG))
    whole = backing_up._put_journals
    with a_store(tmp_path / "store") as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)

        def goes_away(*given: Any) -> Any:
            os.kill(running.process.pid, signal.SIGKILL)
            running.process.wait(10)
            return whole(*given)

        monkeypatch.setattr(backing_up, "_put_journals", goes_away)
        code, _, err = cli(loaded, "backup", "s3://bucket/whole.tar")
        assert code == EXIT_CODE["output_refused"]
        assert "the store says" in err
    monkeypatch.setattr(backing_up, "_put_journals", whole)
    port = int(running.environment["MLFLOW_S3_ENDPOINT_URL"].rpartition(":")[2])
    with a_store(tmp_path / "store", port) as running:
        assert objects(running) == []
        assert cli(loaded, "backup", "s3://bucket/whole.tar")[0] == 0


def test_a_wrong_secret_and_a_name_without_an_object_are_said(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    loaded, _ = home
    for place, why in (
        ("s3://bucket", "names no object"),
        ("ftp://bucket/x.tar", "is no place for a backup"),
        ("s3://absent/x.tar", "the store says NoSuchBucket"),
    ):
        code, _, err = cli(loaded, "backup", place)
        assert code == EXIT_CODE["output_refused"], place
        assert why in err
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    code, _, err = cli(loaded, "backup", "s3://bucket/x.tar")
    assert code == EXIT_CODE["output_refused"]
    assert "cannot be made: the store says" in err
    code, _, err = cli(loaded, "restore", "s3://bucket/x.tar", "--drill")
    assert code == EXIT_CODE["bad_backup"]
    assert "cannot be read" in err
    assert objects(store) == []
