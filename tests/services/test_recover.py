"""What a dead server left is closed by its next start, or by another process."""

from __future__ import annotations

from pathlib import Path

from tests.make import a_prediction, finished

from ddx.adapters.sqlite_journal import SqliteJournal, SqliteJournalReader, find_journals
from ddx.core.record import Interrupted
from ddx.services.recover import Adoption, close_unfinished


def last_seq(data: Path, instance: str) -> int:
    reader = SqliteJournalReader(data, instance)
    seq = reader.last_seq()
    reader.close()
    return seq


def an_adoption(data: Path, opened: list[str]) -> Adoption:
    def open_journal(instance: str) -> SqliteJournal:
        journal = SqliteJournal(data, instance)
        opened.append(instance)
        return journal

    return Adoption(lambda: find_journals(data), open_journal, lambda name: last_seq(data, name))


def test_the_unfinished_of_a_journal_end_as_interrupted(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, "main")
    left, whole = a_prediction(), finished()
    journal.accept(left, None).result()
    journal.accept(whole, None).result()
    assert close_unfinished(journal) == 1
    found = journal.find(left.id)
    assert found is not None
    assert found.outcome == Interrupted()
    assert journal.find(whole.id) == whole
    assert close_unfinished(journal) == 0
    journal.close()


def test_a_dead_servers_journal_is_adopted_and_a_living_ones_is_not(tmp_path: Path) -> None:
    dead, living = SqliteJournal(tmp_path, "dead"), SqliteJournal(tmp_path, "living")
    left, running = a_prediction(), a_prediction()
    dead.accept(left, None).result()
    living.accept(running, None).result()
    dead.close()

    adoption = an_adoption(tmp_path, [])
    assert adoption.look() == 1
    assert list(living.unfinished()) == [running.id]
    living.close()
    assert adoption.look() == 1


def test_an_adopted_journal_is_not_opened_again_until_it_grows(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, "main")
    journal.accept(finished(), None).result()
    journal.close()
    opened: list[str] = []
    adoption = an_adoption(tmp_path, opened)
    for _ in range(3):
        adoption.look()
    assert opened == ["main"]
