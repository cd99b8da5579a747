"""What every journal promises."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from tests.make import a_feedback, a_prediction, an_answered, finished

from ddx.adapters.memory import MemoryJournal
from ddx.adapters.sqlite_journal import SqliteJournal, SqliteJournalReader
from ddx.core.chain import Kind, Walk
from ddx.core.record import PredictionId
from ddx.errors import AlreadyFinished, PredictionNotFound
from ddx.ports import Claim, Held, Journal, JournalReader, Kept


def a_claim(tracker: str = "visit 1", body: bytes = b"body", **more: PredictionId) -> Claim:
    return Claim(scope="anonymous", tracker=tracker, body=body, **more)


class JournalContract:
    """Subclass it and say how to make one."""

    def reader(self, journal: Journal, tmp_path: Path) -> AbstractContextManager[JournalReader]:
        raise NotImplementedError

    def test_an_accepted_prediction_is_found_without_an_outcome(self, journal: Journal) -> None:
        prediction = a_prediction()
        assert isinstance(journal.accept(prediction, None).result(), Kept)
        assert journal.find(prediction.id) == prediction
        assert list(journal.unfinished()) == [prediction.id]

    def test_a_finished_prediction_is_found_whole(self, journal: Journal) -> None:
        prediction = a_prediction()
        journal.accept(prediction, None).result()
        whole = finished(prediction)
        journal.finish(whole).result()
        assert journal.find(prediction.id) == whole
        assert list(journal.unfinished()) == []

    def test_a_prediction_that_is_refused_at_once_is_kept_whole(self, journal: Journal) -> None:
        whole = finished()
        journal.accept(whole, None).result()
        assert journal.find(whole.id) == whole
        assert list(journal.unfinished()) == []

    def test_a_prediction_is_finished_once(self, journal: Journal) -> None:
        prediction = a_prediction()
        journal.accept(prediction, None).result()
        first = finished(prediction)
        journal.finish(first).result()
        with pytest.raises(AlreadyFinished):
            journal.finish(finished(prediction, an_answered(("Other",)))).result()
        assert journal.find(prediction.id) == first

    def test_what_was_never_accepted_cannot_be_finished(self, journal: Journal) -> None:
        with pytest.raises(AlreadyFinished):
            journal.finish(finished()).result()

    def test_an_unknown_id_is_not_found(self, journal: Journal) -> None:
        assert journal.find(PredictionId("nobody")) is None

    def test_a_tracker_belongs_to_the_first_who_claims_it(self, journal: Journal) -> None:
        first, second = a_prediction(), a_prediction()
        journal.accept(first, a_claim()).result()
        answer = journal.accept(second, a_claim()).result()
        assert answer == Held(by=first.id, same_body=True)
        assert journal.find(second.id) is None

    def test_a_tracker_with_another_body_is_told_apart(self, journal: Journal) -> None:
        first = a_prediction()
        journal.accept(first, a_claim()).result()
        answer = journal.accept(a_prediction(), a_claim(body=b"other")).result()
        assert answer == Held(by=first.id, same_body=False)
        assert journal.holder(a_claim(body=b"other")) == answer

    def test_another_tracker_or_caller_is_free(self, journal: Journal) -> None:
        journal.accept(a_prediction(), a_claim()).result()
        other = Claim(scope="clinic 2", tracker="visit 1", body=b"body")
        assert journal.holder(other) is None
        assert isinstance(journal.accept(a_prediction(), other).result(), Kept)
        assert isinstance(journal.accept(a_prediction(), a_claim("visit 2")).result(), Kept)

    def test_a_retry_takes_the_tracker_over_once(self, journal: Journal) -> None:
        first, second, third = a_prediction(), a_prediction(), a_prediction()
        journal.accept(first, a_claim()).result()
        assert isinstance(journal.accept(second, a_claim(replaces=first.id)).result(), Kept)
        # A second retry of the same failure comes too late: it meets the first retry.
        assert journal.accept(third, a_claim(replaces=first.id)).result() == Held(
            by=second.id, same_body=True
        )

    def test_the_newest_come_first_between_two_ids(self, journal: Journal) -> None:
        ids = [a_prediction().id for _ in range(4)]
        for id in ids:
            journal.accept(a_prediction(id=id), None).result()
        first, second, third, fourth = ids
        assert list(journal.newest(None, None, 10)) == [fourth, third, second, first]
        assert list(journal.newest(None, None, 2)) == [fourth, third]
        assert list(journal.newest(third, None, 10)) == [second, first]
        assert list(journal.newest(fourth, second, 10)) == [third, second]
        assert list(journal.newest(None, PredictionId("g"), 10)) == []

    def test_feedback_is_kept_in_order_and_leaves_the_record_as_it_was(
        self, journal: Journal, tmp_path: Path
    ) -> None:
        one, other = finished(), finished()
        for each in (one, other):
            journal.accept(each, None).result()
        said = [a_feedback(comment=str(n)) for n in range(3)]
        for word in said:
            journal.add_feedback(one.id, word).result()
        journal.add_feedback(other.id, a_feedback()).result()
        assert list(journal.feedback_of(one.id)) == said
        assert list(journal.feedback_of(PredictionId("nobody"))) == []
        assert journal.find(one.id) == one
        with self.reader(journal, tmp_path) as reader:
            assert list(reader.feedback_of(one.id)) == said
            kinds = [event.kind for event in reader.events(after=4, limit=10)]
            assert kinds == [Kind.FEEDBACK] * 4
            walk = Walk(reader.journal_id)
            steps = [walk.step(event) for event in reader.chained(after=0, limit=100)]
            assert steps == [None] * 8

    def test_an_erasure_is_an_event_of_any_prediction(self, journal: Journal) -> None:
        before = journal.accept(finished(), None).result()
        elsewhere = a_prediction().id
        kept = journal.add_erasure(elsewhere).result()
        assert isinstance(before, Kept)
        assert kept.seq == before.seq + 1
        assert journal.find(elsewhere) is None
        # What comes after is kept as ever.
        one = finished()
        journal.accept(one, None).result()
        assert journal.find(one.id) == one

    def test_nobody_can_judge_what_is_not_finished(self, journal: Journal) -> None:
        running = a_prediction()
        journal.accept(running, None).result()
        for id in (running.id, PredictionId("nobody")):
            with pytest.raises(PredictionNotFound):
                journal.add_feedback(id, a_feedback()).result()
            assert list(journal.feedback_of(id)) == []
        # The journal goes on.
        assert journal.finish(finished(running)).result()
        assert journal.add_feedback(running.id, a_feedback()).result()

    def test_many_at_once_are_all_kept_in_one_order(self, journal: Journal, tmp_path: Path) -> None:
        predictions = [a_prediction() for _ in range(200)]
        waiting = [journal.accept(p, None) for p in predictions]
        wait(waiting)
        finishing = [journal.finish(finished(p)) for p in predictions]
        wait(finishing)
        with self.reader(journal, tmp_path) as reader:
            events = list(reader.events(after=0, limit=1000))
            assert [e.seq for e in events] == list(range(1, 401))
            assert [e.prediction_id for e in events if e.kind is Kind.ACCEPTED] == [
                p.id for p in predictions
            ]
            assert reader.last_seq() == 400
            assert list(reader.predictions([predictions[7].id])) == [finished(predictions[7])]

    def test_the_chain_holds_from_its_genesis(self, journal: Journal, tmp_path: Path) -> None:
        for _ in range(5):
            journal.accept(finished(), None).result()
        with self.reader(journal, tmp_path) as reader:
            walk = Walk(reader.journal_id)
            events = reader.chained(after=0, limit=100)
            assert len(events) == 10
            assert [walk.step(event) for event in events] == [None] * 10
            assert reader.chained(after=8, limit=1) == events[8:9]

    def test_a_reader_goes_on_where_it_was(self, journal: Journal, tmp_path: Path) -> None:
        journal.accept(finished(), None).result()
        with self.reader(journal, tmp_path) as reader:
            assert [e.seq for e in reader.events(after=0, limit=1)] == [1]
            journal.accept(finished(), None).result()
            assert [e.seq for e in reader.events(after=1, limit=10)] == [2, 3, 4]


class TestMemoryJournal(JournalContract):
    @pytest.fixture
    def journal(self) -> Journal:
        return MemoryJournal()

    @contextmanager
    def reader(self, journal: Journal, tmp_path: Path) -> Iterator[JournalReader]:
        assert isinstance(journal, MemoryJournal)
        yield journal


class TestSqliteJournal(JournalContract):
    @pytest.fixture
    def journal(self, tmp_path: Path) -> Iterator[Journal]:
        journal = SqliteJournal(tmp_path, "main")
        yield journal
        journal.close()

    @contextmanager
    def reader(self, journal: Journal, tmp_path: Path) -> Iterator[JournalReader]:
        reader = SqliteJournalReader(tmp_path, "main")
        yield reader
        reader.close()
