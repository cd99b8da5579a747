"""The ledger follows the journals: each row once, whatever was there before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Future

import pytest
from tests.make import a_feedback, a_prediction, finished

from ddx.adapters.memory import MemoryJournal
from ddx.core import codec
from ddx.core.pieces import lines_of, piece
from ddx.core.record import Failed
from ddx.core.usage import FeedbackRow, UsageRow
from ddx.errors import LedgerUnavailable
from ddx.services.ledger import BATCH, Bookkeeper, page


class Rows:
    """A Ledger in memory."""

    def __init__(self) -> None:
        self.cursors: dict[str, int] = {}
        self.rows: list[UsageRow] = []
        self.words: list[FeedbackRow] = []
        self.full = False

    def cursor(self, journal_id: str) -> int:
        return self.cursors.get(journal_id, 0)

    def add(
        self,
        journal_id: str,
        cursor: int,
        rows: Sequence[UsageRow],
        feedback: Sequence[FeedbackRow],
    ) -> None:
        if self.full:
            raise LedgerUnavailable("no room")
        self.cursors[journal_id] = cursor
        self.rows += rows
        self.words += feedback

    def tend(self) -> None:
        pass

    def forget(self) -> None:
        self.__init__()  # type: ignore[misc]


def test_each_finished_prediction_has_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    journals = [MemoryJournal("one"), MemoryJournal("two")]
    made = [finished() for _ in range(BATCH + 5)]
    for number, one in enumerate(made):
        journals[number % 2].accept(one, None).result()
    journals[0].accept(a_prediction(), None).result()  # not finished
    ledger = Rows()
    keeper = Bookkeeper(lambda: journals, ledger)
    assert keeper.once() == len(made)
    assert {row.prediction_id for row in ledger.rows} == {one.id for one in made}
    assert keeper.once() == 0
    assert len(ledger.rows) == len(made)


def test_what_could_not_be_added_is_added_later() -> None:
    journal = MemoryJournal("one")
    journal.accept(finished(), None).result()
    ledger = Rows()
    ledger.full = True
    keeper = Bookkeeper(lambda: [journal], ledger)
    with pytest.raises(LedgerUnavailable):
        keeper.once()
    ledger.full = False
    assert keeper.once() == 1


def test_feedback_has_a_row_with_all_that_was_said_until_then() -> None:
    journal = MemoryJournal("one")
    told = finished()
    journal.accept(told, None).result()
    journal.add_feedback(told.id, a_feedback(true_diagnosis="Dengue fever")).result()
    ledger = Rows()
    keeper = Bookkeeper(lambda: [journal], ledger)
    keeper.once()
    assert [word.true_rank for word in ledger.words] == [1]
    journal.add_feedback(told.id, a_feedback(true_diagnosis="Malaria")).result()
    journal.add_feedback(told.id, a_feedback(true_diagnosis="Zika")).result()
    keeper.once()
    assert [word.true_rank for word in ledger.words] == [1, 0]
    assert ledger.words[1].seq > ledger.words[0].seq
    assert len(ledger.rows) == 1


class Pages:
    """Workers in this process, which see the same journals."""

    slots = 2

    def __init__(self, journals: Sequence[MemoryJournal]) -> None:
        self._journals = {one.instance: one for one in journals}
        self.asked = 0

    def submit(self, piece_: bytes) -> Future[bytes]:
        (line,) = lines_of(piece_)
        asked = json.loads(line)
        self.asked += 1
        answer: Future[bytes] = Future()
        found = page(self._journals[asked["instance"]], asked["after"])
        answer.set_result(piece([codec.encode(found)]))
        return answer


def test_workers_make_the_rows_that_one_process_makes() -> None:
    journals = [MemoryJournal("one"), MemoryJournal("two"), MemoryJournal("none")]
    for number in range(3 * BATCH):
        failed = Failed(code="model_error", message="x") if number % 7 == 0 else None
        one = finished(outcome=failed)
        journals[number % 2].accept(one, None).result()
    told = finished()
    journals[0].accept(told, None).result()
    journals[0].add_feedback(told.id, a_feedback(true_diagnosis="Dengue fever")).result()
    alone, spread, workers = Rows(), Rows(), Pages(journals)
    Bookkeeper(lambda: journals, alone).once()
    told_of: list[int] = []

    keeper = Bookkeeper(lambda: journals, spread)
    assert keeper.by(workers, told_of.append) == sum(told_of) == 3 * BATCH + 1

    assert workers.asked > workers.slots * 2
    assert (spread.rows, spread.words, spread.cursors) == (alone.rows, alone.words, alone.cursors)
    assert keeper.once() == 0
    assert keeper.by(workers, told_of.append) == 0
