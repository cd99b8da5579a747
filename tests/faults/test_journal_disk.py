"""The journal on disks that fail: what was promised is kept, what failed was not promised."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.disk import FaultyDisk, faulty_disk
from tests.make import a_prediction, finished

from ddx.adapters.sqlite_journal import SqliteJournal, SqliteJournalReader
from ddx.core.chain import Walk
from ddx.core.record import Prediction
from ddx.errors import JournalFull, JournalUnavailable


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FaultyDisk]:
    with faulty_disk(tmp_path / "synced", f"disk-{tmp_path.name}") as disk:
        yield disk


@pytest.fixture
def journal(tmp_path: Path, disk: FaultyDisk) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "data", "main", vfs=disk.name)
    yield journal
    disk.fail_sync = disk.full = False
    journal.close()


def chain_holds(data: Path) -> bool:
    reader = SqliteJournalReader(data, "main")
    walk = Walk(reader.journal_id)
    broken = [b for e in reader.chained(0, 100_000) if (b := walk.step(e))]
    reader.close()
    return not broken


def break_sync(disk: FaultyDisk) -> None:
    disk.fail_sync = True


def fill(disk: FaultyDisk) -> None:
    disk.full = True


@pytest.mark.parametrize(("harm", "error"), [(break_sync, JournalUnavailable), (fill, JournalFull)])
def test_a_write_that_fails_is_told_and_the_journal_recovers_by_itself(
    tmp_path: Path,
    disk: FaultyDisk,
    journal: SqliteJournal,
    harm: Callable[[FaultyDisk], None],
    error: type[Exception],
) -> None:
    running = a_prediction()
    journal.accept(running, None).result()
    harm(disk)
    lost = [a_prediction() for _ in range(3)]
    for prediction in lost:
        with pytest.raises(error):
            journal.accept(prediction, None).result()
    with pytest.raises(error):
        journal.finish(finished(running)).result()
    assert journal.fault == error("").code  # type: ignore[attr-defined]
    with pytest.raises(error):
        journal.probe().result()

    disk.fail_sync = disk.full = False
    journal.probe().result()
    assert journal.fault is None
    after = finished()
    journal.accept(after, None).result()
    journal.finish(finished(running)).result()
    assert journal.find(after.id) == after
    assert all(journal.find(p.id) is None for p in lost)
    assert chain_holds(tmp_path / "data")


def test_every_promise_is_a_sync_that_was_waited_for(
    disk: FaultyDisk, journal: SqliteJournal
) -> None:
    for _ in range(5):
        before = disk.syncs
        journal.accept(a_prediction(), None).result()
        assert disk.syncs > before


def test_a_power_cut_after_any_promise_keeps_it(
    tmp_path: Path, disk: FaultyDisk, journal: SqliteJournal
) -> None:
    """At each step the files are taken as of their last sync: all unsynced writes are lost."""
    promised: list[Prediction] = []
    for step in range(12):
        prediction = a_prediction()
        journal.accept(prediction, None).result()
        whole = finished(prediction)
        journal.finish(whole).result()
        promised.append(whole)

        left = tmp_path / f"after-{step}"
        shutil.copytree(tmp_path / "data" / "keys", left / "keys")
        shutil.copytree(tmp_path / "synced", left / "journals")
        reborn = SqliteJournal(left, "main")
        assert [reborn.find(p.id) for p in promised] == promised
        reborn.close()
        assert chain_holds(left)


def test_unsynced_writes_are_lost_on_this_disk(tmp_path: Path, disk: FaultyDisk) -> None:
    """The test above could not fail if the copies held more than what was synced."""
    import apsw

    db = apsw.Connection(str(tmp_path / "x.db"), vfs=disk.name)
    db.execute("pragma journal_mode = wal")
    db.execute("pragma synchronous = normal")
    db.execute("create table t (x)")
    db.execute("insert into t values (1)")
    left = tmp_path / "left"
    shutil.copytree(tmp_path / "synced", left)
    again = apsw.Connection(str(left / "x.db"))
    assert list(again.execute("select name from sqlite_master")) == []
    db.close()


_UNTIL_FULL = """
import resource, sys
from pathlib import Path
from ddx.adapters.sqlite_journal import SqliteJournal
from ddx.errors import JournalUnavailable
from tests.make import finished
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = SqliteJournal(Path(sys.argv[1]), "main")
for number in range(1000):
    record = finished()
    try:
        journal.accept(record, None).result()
    except JournalUnavailable as error:
        print("refused", error.code)
        break
    print(record.id, flush=True)
"""


def test_a_file_that_may_not_grow_refuses_and_loses_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _UNTIL_FULL, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    *kept, last = done.stdout.splitlines()
    assert last.startswith("refused journal_"), done.stderr
    assert len(kept) > 10
    journal = SqliteJournal(tmp_path, "main")
    assert all(journal.find(id) is not None for id in kept)  # type: ignore[arg-type]
    journal.accept(finished(), None).result()
    journal.close()
    assert chain_holds(tmp_path)


_WRITE_FOR_EVER = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from ddx.adapters.sqlite_journal import SqliteJournal
from ddx.core.ids import prediction_id
from tests.make import a_prediction, finished
journal = SqliteJournal(Path(sys.argv[1]), "main")
while True:
    ids = [prediction_id(datetime.now(UTC), os.urandom(10)) for _ in range(8)]
    batch = [finished(a_prediction(id=id)) for id in ids]
    waiting = [(r, journal.accept(r, None)) for r in batch]
    for record, kept in waiting:
        kept.result()
        print(record.id, flush=True)
"""


def test_kill_9_in_the_middle_of_writing_loses_no_promise(tmp_path: Path) -> None:
    told: list[str] = []
    for _ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITE_FOR_EVER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert writer.stdout is not None
        told += [writer.stdout.readline().strip() for _ in range(150)]
        writer.kill()
        told += [line.strip() for line in writer.stdout if line.endswith("\n")]
        writer.wait()
    journal = SqliteJournal(tmp_path, "main")
    assert all(journal.find(id) is not None for id in told)  # type: ignore[arg-type]
    journal.close()
    assert chain_holds(tmp_path)
