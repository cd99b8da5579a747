"""Waiting cases are on stable storage, sealed, private, and gone once they are answered."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.make import NOON, a_request

from ddx.adapters.batch_files import BatchFiles, take_over
from ddx.core.batch import BatchId, CaseDone
from ddx.core.record import Findings, PredictionId, Setting
from ddx.errors import JournalDamaged, TrackerReused

CASES = [
    a_request(case="Fever\u2028for 3 days.\nAnd a rash.", tracker="visit-1", temperature=0.5),
    a_request(
        case="", findings=Findings(present=("HP:0001250",), sex="FEMALE"), setting=Setting.GENETICS
    ),
]


def ended(index: int) -> CaseDone:
    return CaseDone(
        index=index, status=200, outcome="answered", prediction_id=PredictionId(f"id-{index}")
    )


@pytest.fixture
def store(tmp_path: Path) -> BatchFiles:
    return BatchFiles(tmp_path, "main")


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_batch_is_read_back_by_another_process(tmp_path: Path, store: BatchFiles) -> None:
    batch, new = store.take("anonymous", None, CASES, NOON)
    store.note(batch.id, ended(1))
    again = BatchFiles(tmp_path, "main")
    assert new
    assert again.open_ids() == [batch.id]
    assert list(again.cases(batch.id)) == CASES
    assert again.find(batch.id) == batch.with_done(ended(1))


def test_no_file_shows_a_case_and_each_is_for_its_owner_alone(
    tmp_path: Path, store: BatchFiles
) -> None:
    batch, _ = store.take("anonymous", "key-of-the-batch", CASES, NOON)
    store.note(batch.id, ended(0))
    found = everything(tmp_path)
    for secret in (b"Fever", b"visit-1", b"HP:0001250", b"key-of-the-batch"):
        assert secret not in found
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_closing_destroys_cases_and_key_and_can_be_repeated(
    tmp_path: Path, store: BatchFiles
) -> None:
    batch, _ = store.take("anonymous", None, CASES, NOON)
    for index in range(2):
        store.note(batch.id, ended(index))
    store.close(batch.id)
    store.close(batch.id)
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"batch.json", "done.ndjson", "secret"}
    assert store.open_ids() == []
    found = store.find(batch.id)
    assert found is not None
    assert found.complete


def test_a_key_leads_to_the_same_batch_and_another_body_is_refused(store: BatchFiles) -> None:
    first, new = store.take("anonymous", "k", CASES, NOON)
    again, anew = store.take("anonymous", "k", CASES, NOON)
    assert (new, anew, again) == (True, False, first)
    with pytest.raises(TrackerReused):
        store.take("anonymous", "k", CASES[:1], NOON)
    other, new = store.take("somebody else", "k", CASES[:1], NOON)
    assert new
    assert other.id != first.id
    store.close(first.id)
    assert store.take("anonymous", "k", CASES, NOON)[1] is False


def test_a_line_left_half_written_spoils_no_other(tmp_path: Path, store: BatchFiles) -> None:
    batch, _ = store.take("anonymous", None, CASES, NOON)
    store.note(batch.id, ended(0))
    path = tmp_path / "batches" / "main" / batch.id / "done.ndjson"
    path.write_bytes(path.read_bytes() + b'\n{"index":1,"sta')
    store.note(batch.id, ended(1))
    found = store.find(batch.id)
    assert found is not None
    assert sorted(found.done) == [0, 1]


def test_a_changed_file_is_said_and_a_strange_id_is_not_found(
    tmp_path: Path, store: BatchFiles
) -> None:
    batch, _ = store.take("anonymous", None, CASES, NOON)
    path = tmp_path / "batches" / "main" / batch.id / "cases.sealed"
    path.write_bytes(path.read_bytes()[:-1] + b"\0\0")
    with pytest.raises(JournalDamaged):
        store.cases(batch.id)
    for id in ("../../keys", "..", "", "0" * 32, batch.id.upper()):
        assert store.find(BatchId(id)) is None


def test_what_was_half_taken_when_the_process_died_is_removed(
    tmp_path: Path, store: BatchFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(BaseException):
        pass

    def dies(self: Path, target: Path) -> Path:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dies)
        with pytest.raises(PowerCut):
            store.take("anonymous", "k", CASES, NOON)
    assert list(tmp_path.rglob("cases.sealed"))
    assert store.open_ids() == []
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"secret"}
    assert store.take("anonymous", "k", CASES, NOON)[1] is True


def test_any_process_reads_a_batch_and_knows_its_key(tmp_path: Path, store: BatchFiles) -> None:
    other = BatchFiles(tmp_path, "main-2")
    batch, new = store.take("anonymous", "the key", CASES, NOON)
    assert new
    assert other.take("anonymous", "the key", CASES, NOON) == (batch, False)
    with pytest.raises(TrackerReused):
        other.take("anonymous", "the key", CASES[:1], NOON)
    store.note(batch.id, ended(1))
    assert other.find(batch.id) == batch.with_done(ended(1))
    # Only who took it works through it.
    assert list(other.open_ids()) == []


def test_of_many_processes_with_one_key_one_takes_the_batch(tmp_path: Path) -> None:
    stores = [BatchFiles(tmp_path, f"main-{number}") for number in range(4)]
    with ThreadPoolExecutor(8) as pool:
        taken = list(
            pool.map(lambda n: stores[n % 4].take("anonymous", "key", CASES, NOON), range(16))
        )
    assert len({batch.id for batch, _ in taken}) == 1
    assert sum(new for _, new in taken) == 1
    assert sum(len(one.open_ids()) for one in stores) == 1


def test_the_open_batches_of_a_process_that_is_gone_have_an_heir(
    tmp_path: Path, store: BatchFiles
) -> None:
    gone = BatchFiles(tmp_path, "main-2")
    waiting, _ = gone.take("anonymous", None, CASES, NOON)
    closed, _ = gone.take("anonymous", None, CASES, NOON)
    gone.note(closed.id, ended(0))
    gone.note(closed.id, ended(1))
    gone.close(closed.id)
    assert take_over(tmp_path, "main-2", "main") == 1
    assert list(store.open_ids()) == [waiting.id]
    assert list(store.cases(waiting.id)) == CASES
    assert store.find(closed.id) is not None
