"""The ledger's copy: the same files as the ledger, in a folder and in an object store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.make import NOON, finished
from tests.object_store import a_store

from ddx import settings
from ddx.adapters.parquet_ledger import ParquetLedger, files
from ddx.adapters.parquet_ledger.writer import PIECES
from ddx.core.usage import usage_row
from ddx.wiring.ledger_copying import Copier

duckdb = pytest.importorskip("duckdb", reason="needs the extra `analytics`")
pytest.importorskip("mlflow", reason="needs the extra `tracking`")


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """An object store behind signatures, whose objects are files."""
    with a_store(tmp_path / "store") as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        yield "s3://bucket/ledger", store.bucket / "ledger"


def copied_and_counted(home: Path, uri: str, copy: Path) -> None:
    loaded = settings.load({"DDX_LEDGER_URI": uri}, home=home)
    ledger, copier = ParquetLedger(loaded.data), Copier(loaded)
    row = usage_row(finished())
    for number in range(2 * PIECES):
        one = replace(row, received_at=NOON + timedelta(days=number % 2), prediction_id=str(number))
        ledger.add("j" * 32, number + 1, [one], [])
        assert copier.once()
    ledger.tend()  # some files become one
    assert copier.once()
    assert not copier.once()

    there = {str(one.relative_to(copy)) for one in copy.rglob("*.parquet")}
    assert there == set(files.read(loaded.data / files.FOLDER).files)
    query = f"select count(distinct prediction_id), count(*) from '{copy}/*/*/*.parquet'"
    assert duckdb.connect().execute(query).fetchone() == (2 * PIECES, 2 * PIECES)
    # Another process knows by looking what is there.
    ledger.add("j" * 32, 100, [row], [])
    assert Copier(loaded).once()
    assert len(list(copy.rglob("*.parquet"))) == len(there) + 1


def test_a_copy_in_a_folder(tmp_path: Path) -> None:
    copied_and_counted(tmp_path, str(tmp_path / "copy"), tmp_path / "copy")


def test_a_copy_in_an_object_store(tmp_path: Path, bucket: tuple[str, Path]) -> None:
    copied_and_counted(tmp_path, *bucket)


def test_a_store_that_is_away_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    taken = tmp_path / "copy"
    taken.write_text("not a folder")
    loaded = settings.load({"DDX_LEDGER_URI": str(taken)}, home=tmp_path)
    ParquetLedger(loaded.data).add("j" * 32, 1, [usage_row(finished())], [])
    copier = Copier(loaded)
    assert not copier.once()
    assert "the ledger's copy waits" in caplog.text
    taken.unlink()
    assert copier.once()
