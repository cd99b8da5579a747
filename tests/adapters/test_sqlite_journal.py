"""What the SQLite journal adds to the contract: files, keys, chain, restarts."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from tests.make import CASE, a_prediction, finished

from ddx.adapters.sqlite_journal import SqliteJournal, SqliteJournalReader, find_journals
from ddx.adapters.sqlite_journal.keys import BLOCK, KeyFile
from ddx.adapters.sqlite_journal.store import COLUMNS, header_of
from ddx.core.chain import genesis, link
from ddx.errors import Erased, JournalDamaged, JournalInUse
from ddx.ports import Claim, Held


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path, "main")
    yield journal
    journal.close()


def rows(folder: Path) -> list[tuple[object, ...]]:
    db = apsw.Connection(str(folder / "journals" / "main.db"))
    return list(db.execute(f"select {COLUMNS} from event order by seq"))


def test_everything_survives_closing_and_opening(tmp_path: Path) -> None:
    first = SqliteJournal(tmp_path, "main")
    whole, running = finished(), a_prediction()
    claim = Claim(scope="", tracker="t", body=b"b")
    first.accept(whole, claim).result()
    first.accept(running, None).result()
    first.close()

    again = SqliteJournal(tmp_path, "main")
    assert again.find(whole.id) == whole
    assert list(again.unfinished()) == [running.id]
    assert again.holder(claim) == Held(by=whole.id, same_body=True)
    again.finish(finished(running)).result()
    assert list(again.unfinished()) == []
    again.close()


def test_the_chain_covers_every_event(tmp_path: Path, journal: SqliteJournal) -> None:
    for _ in range(5):
        journal.accept(finished(), None).result()
    previous = genesis(journal.journal_id)
    for row in rows(tmp_path):
        header = header_of(journal.journal_id, row)
        payload = row[-1]
        assert isinstance(payload, bytes)
        previous = link(previous, header.encode(), payload)
        assert row[6] == previous


def test_no_patient_text_or_tracker_stands_in_any_file(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    claim = Claim(scope="", tracker="visit-of-mr-x", body=CASE.encode())
    journal.accept(finished(), claim).result()
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"joint pain" not in written
    assert b"visit-of-mr-x" not in written


def test_each_record_has_a_key_of_its_own(tmp_path: Path, journal: SqliteJournal) -> None:
    for _ in range(BLOCK + 5):
        last = journal.accept(finished(), None)
    last.result()
    by_prediction = {(row[2], row[3]) for row in rows(tmp_path)}
    assert len({key for _, key in by_prediction}) == BLOCK + 5
    assert len(by_prediction) == BLOCK + 5


def test_a_key_is_never_used_again_after_a_restart(tmp_path: Path) -> None:
    for _ in range(3):
        journal = SqliteJournal(tmp_path, "main")
        journal.accept(finished(), None).result()
        journal.close()
    assert len({row[3] for row in rows(tmp_path)}) == 3


def test_destroying_a_key_erases_its_record_and_no_other(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    erased, other = finished(), finished()
    journal.accept(erased, None).result()
    journal.accept(other, None).result()
    keys = KeyFile(tmp_path / "keys" / "main.keys", writable=True)
    keys.destroy(0)
    keys.close()
    with pytest.raises(Erased):
        journal.find(erased.id)
    reader = SqliteJournalReader(tmp_path, "main")
    assert list(reader.predictions([erased.id, other.id])) == [other]
    reader.close()


def test_an_event_cannot_be_changed_or_removed_through_sql(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    journal.accept(finished(), None).result()
    db = apsw.Connection(str(tmp_path / "journals" / "main.db"))
    for statement in ("update event set seq = 9", "delete from event"):
        with pytest.raises(apsw.ConstraintError):
            db.execute(statement)


def test_a_changed_byte_is_found_when_its_record_is_read(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    whole = finished()
    journal.accept(whole, None).result()
    db = apsw.Connection(str(tmp_path / "journals" / "main.db"))
    db.execute("drop trigger event_is_final")
    db.execute("update event set written_at_us = written_at_us + 1 where seq = 2")
    with pytest.raises(JournalDamaged):
        journal.find(whole.id)


def test_a_second_writer_is_refused_and_told_who_writes(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    script = (
        "import sys; from pathlib import Path;"
        "from ddx.adapters.sqlite_journal import SqliteJournal;"
        "SqliteJournal(Path(sys.argv[1]), 'main')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert JournalInUse.__name__ in done.stderr
    assert f"process {os.getpid()} writes the journal 'main'" in done.stderr


def test_files_and_folders_are_their_owners_alone(tmp_path: Path, journal: SqliteJournal) -> None:
    journal.accept(finished(), None).result()
    for path in tmp_path.rglob("*"):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path.name


def test_the_journals_of_a_folder_are_found(tmp_path: Path, journal: SqliteJournal) -> None:
    second = SqliteJournal(tmp_path, "second")
    assert list(find_journals(tmp_path)) == ["main", "second"]
    second.close()


def test_a_reader_that_is_closed_while_another_thread_reads_fails_neither(tmp_path: Path) -> None:
    with closing(SqliteJournal(tmp_path, "main")) as journal:
        journal.accept(finished(), None).result()
        for _ in range(50):
            reader = SqliteJournalReader(tmp_path, "main")
            ends: list[str] = []

            def read(reader: SqliteJournalReader = reader, ends: list[str] = ends) -> None:
                try:
                    while True:
                        reader.last_seq()
                except Exception as error:
                    ends.append(type(error).__name__)

            thread = threading.Thread(target=read, daemon=True)
            thread.start()
            time.sleep(0.002)
            reader.close()
            thread.join(10)
            assert ends == ["JournalUnavailable"]
