"""A chain of backups in each object store: made, verified, restored; nothing half, nothing over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.backups import told
from tests.production import servers

from ddx import settings
from ddx.adapters import archive
from ddx.adapters.archive import object_store
from ddx.adapters.sqlite_journal import SqliteJournal
from ddx.errors import BadBackup, OutputRefused
from ddx.settings import Settings
from ddx.wiring import backing_up, restoring
from ddx.wiring.backing_up import back_up

PLACES = {"s3-tls": servers.s3, "gcs": servers.gcs, "azure": servers.azure}
BIG = 40 << 20


@dataclass(frozen=True)
class Bucket:
    """Where a test's objects go."""

    uri: str

    def __call__(self, name: str) -> str:
        return f"{self.uri}/{name}"

    def size(self, name: str) -> int | None:
        return archive.place(self(name)).size()


@pytest.fixture(scope="module", params=PLACES)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[servers.Part]:
    with PLACES[request.param](tmp_path_factory.mktemp("parts") / "objects") as part:
        yield part


@pytest.fixture
def bucket(
    running: servers.Part, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Bucket:
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(object_store, "_PART_BYTES", 8 << 20)
    return Bucket(f"{running.uri}/{request.node.name.partition('[')[0]}")


@pytest.fixture
def loaded(tmp_path: Path) -> Settings:
    """An installation with a journal, and something large beside it."""
    (tmp_path / "home").mkdir()
    found = settings.load({}, tmp_path / "home")
    written(found, 3)
    (found.data / "evaluations").mkdir()
    (found.data / "evaluations" / "big.bin").write_bytes(os.urandom(BIG))
    return found


def written(loaded: Settings, count: int) -> None:
    with closing(SqliteJournal(loaded.data, "main")) as journal:
        for _ in range(count):
            journal.accept(told(), None).result()


def test_a_chain_comes_back_as_it_was(loaded: Settings, tmp_path: Path, bucket: Bucket) -> None:
    whole = back_up(loaded, bucket("whole.tar"))
    written(loaded, 2)
    one = back_up(loaded, bucket("one.tar"), since="latest")
    assert whole.size_bytes > BIG > one.size_bytes
    chain, _ = restoring.check([one.path])
    assert [place.said for place in chain.places] == [whole.path, one.path]

    found = restoring.restore([one.path], tmp_path / "new")

    assert found.ok, found.differences
    assert found.predictions == 5
    big = Path("evaluations", "big.bin")
    assert (tmp_path / "new" / "ddx_data" / big).read_bytes() == (loaded.data / big).read_bytes()


def test_nothing_is_written_over(loaded: Settings, bucket: Bucket) -> None:
    made = back_up(loaded, bucket("whole.tar"))
    with pytest.raises(OutputRefused, match="is there already"):
        back_up(loaded, made.path)
    # Nor what comes to be there while it goes up.
    first, second = (archive.place(bucket("late.tar")).draft() for _ in range(2))
    for draft in (first, second):
        draft.write(b"a backup")
    first.keep()
    try:
        second.keep()
    except OSError:
        second.drop()
    else:
        # The emulators of S3 and GCS take the condition, and do not look at it.
        assert not bucket.uri.startswith("wasbs://")


def test_what_fails_on_its_way_leaves_nothing(
    loaded: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any) -> None:
        raise OutputRefused("the disk is full")

    monkeypatch.setattr(backing_up, "_put_journals", refuses)
    with pytest.raises(OutputRefused, match="the disk is full"):
        back_up(loaded, bucket("whole.tar"))
    assert bucket.size("whole.tar") is None
    assert bucket.size("whole.tar.keys") is None


def test_the_keys_go_where_the_backup_could_not_be_ended(
    loaded: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = archive.Archive.finish

    def finish(self: archive.Archive, manifest: Any) -> Any:
        if manifest.journals:
            raise OutputRefused("the store is full")
        return real(self, manifest)

    monkeypatch.setattr(archive.Archive, "finish", finish)
    with pytest.raises(OutputRefused, match="the store is full"):
        back_up(loaded, bucket("whole.tar"))
    assert bucket.size("whole.tar") is None
    assert bucket.size("whole.tar.keys") is None


def test_what_is_not_there_is_said(tmp_path: Path, bucket: Bucket) -> None:
    with pytest.raises(BadBackup, match=r"absent\.tar cannot be read: the store says"):
        restoring.restore([bucket("absent.tar")], tmp_path / "new")


def test_azures_three_names_are_one_place(
    loaded: Settings, running: servers.Part, bucket: Bucket
) -> None:
    if not running.uri.startswith("wasbs://"):
        pytest.skip("this store has one name")
    back_up(loaded, bucket("whole.tar"))
    rest = bucket("whole.tar").removeprefix(running.uri)
    lake = running.uri.replace("wasbs://", "abfss://").replace(".blob.", ".dfs.") + rest
    short = "az://runs/mlflow" + rest
    sizes = {archive.place(one).size() for one in (bucket("whole.tar"), lake, short)}
    assert len(sizes) == 1
    assert sizes.pop()
