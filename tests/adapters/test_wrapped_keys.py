"""Key files in both forms: what is read, what is destroyed, and who follows a change of form."""

from __future__ import annotations

import os
import threading
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from tests.make import a_prediction, a_request, finished

from ddx.adapters import vault
from ddx.adapters.batch_files import BatchFiles
from ddx.adapters.ed25519 import Ed25519Signer
from ddx.adapters.sqlite_journal import (
    KeyFile,
    SqliteJournal,
    SqliteJournalReader,
    destroy_key,
    rewrap,
)
from ddx.adapters.sqlite_journal.keys import BLOCK
from ddx.adapters.vault import FileVault, KeptMaster
from ddx.core.chain import Checkpoint
from ddx.core.record import Prediction, PredictionId
from ddx.errors import (
    Erased,
    JournalDamaged,
    JournalInUse,
    MasterKeyUnavailable,
    WrongMasterKey,
)
from ddx.ports import Claim, Held

GOLDEN = Path(__file__).with_name("golden")
SECRET = bytes(range(32))


def a_vault(data: Path, secret: bytes = SECRET) -> FileVault:
    return FileVault(data / "keys", lambda: KeptMaster(secret))


def change_form(path: Path, box: FileVault, *, wrapped: bool) -> None:
    key = box.current() if wrapped else None
    vault.replace(path, lambda out: rewrap(path, box, key, out), lambda _: None)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    return tmp_path / "keys" / "main.keys"


@pytest.mark.parametrize("form", ["plain", "wrapped"])
def test_an_installation_of_before_still_opens(tmp_path: Path, form: str) -> None:
    with zipfile.ZipFile(GOLDEN / f"{form}_keys.zip") as kept:
        kept.extractall(tmp_path)
    one, erased = map(PredictionId, (tmp_path / "ids.txt").read_text().split())
    box = None if form == "plain" else a_vault(tmp_path)
    with closing(SqliteJournal(tmp_path, "main", box)) as journal:
        found = journal.find(one)
        assert found is not None
        assert found.request.case == "A made-up case: fever, kept by version 0.1."
        with pytest.raises(Erased):
            journal.find(erased)
        claim = Claim(scope="", tracker="golden", body=b"b")
        assert journal.holder(claim) == Held(by=one, same_body=True)
    signer = Ed25519Signer(tmp_path / "keys", box)
    made = Checkpoint(journal_id="j", instance="main", seq=1, link="00", made_at="now")
    assert signer.read(signer.sign(made)) == made


def test_a_new_installation_with_a_master_key_keeps_no_plain_key(tmp_path: Path) -> None:
    box = a_vault(tmp_path)
    one = finished()
    with closing(SqliteJournal(tmp_path, "main", box)) as journal:
        journal.accept(one, None).result()
    Ed25519Signer(tmp_path / "keys", box)
    batches = BatchFiles(tmp_path, "main", box)
    batch, _ = batches.take("caller", "key", [a_request()], one.received_at)

    again = a_vault(tmp_path)
    with closing(KeyFile(tmp_path / "keys" / "main.keys", writable=False, vault=again)) as file:
        secrets = [file.get(number) for number in range(file.count())]
    for small in ("claims.key", "checkpoint.key"):
        secrets.append(again.open(small, (tmp_path / "keys" / small).read_bytes()))
    for path in (tmp_path / "keys" / "batches").iterdir():
        secrets.append(again.open(path.name, path.read_bytes()))
    assert len(secrets) == BLOCK + 4
    kept = b"".join(path.read_bytes() for path in (tmp_path / "keys").rglob("*") if path.is_file())
    assert not [secret for secret in secrets if secret in kept]
    assert list(BatchFiles(tmp_path, "main", again).cases(batch.id)) == [a_request()]


def test_the_key_of_a_closed_batch_is_overwritten_whole(tmp_path: Path) -> None:
    batches = BatchFiles(tmp_path, "main", a_vault(tmp_path))
    batch, _ = batches.take("caller", None, [a_request()], a_prediction().received_at)
    (file,) = (tmp_path / "keys" / "batches").glob("*.key")
    seen = os.open(file, os.O_RDONLY)
    batches.close(batch.id)
    assert not any(os.pread(seen, 1000, 0))
    os.close(seen)


def test_both_forms_give_the_same_keys(keys: Path) -> None:
    box = a_vault(keys.parents[1])
    with closing(KeyFile(keys, writable=True)) as file:
        file.grow()
        file.destroy(7)
        before = [file.get(n) for n in range(BLOCK) if n != 7]
    for wrapped in (True, False, True):
        change_form(keys, box, wrapped=wrapped)
        with closing(KeyFile(keys, writable=True, vault=box)) as file:
            assert (file.count(), file.data_key is not None) == (BLOCK, wrapped)
            assert [file.get(n) for n in range(BLOCK) if n != 7] == before
            with pytest.raises(Erased):
                file.get(7)


def test_a_wrapped_key_that_was_moved_or_changed_is_found(keys: Path) -> None:
    box = a_vault(keys.parents[1])
    with closing(KeyFile(keys, writable=True, vault=box)) as file:
        file.grow()
    whole = keys.read_bytes()
    keys.write_bytes(whole[:64] + whole[128:192] + whole[64:128] + whole[192:])
    with closing(KeyFile(keys, writable=False, vault=box)) as file:
        for number in (0, 1):
            with pytest.raises(JournalDamaged, match="moved"):
                file.get(number)
    keys.write_bytes(whole[:70] + bytes([whole[70] ^ 1]) + whole[71:])
    with (
        closing(KeyFile(keys, writable=False, vault=box)) as file,
        pytest.raises(JournalDamaged),
    ):
        file.get(0)


def test_without_the_right_master_key_no_journal_opens_and_none_stays_locked(
    tmp_path: Path,
) -> None:
    box = a_vault(tmp_path)
    SqliteJournal(tmp_path, "main", box).close()
    for wrong, error in (
        (a_vault(tmp_path, bytes(32)), WrongMasterKey),
        (FileVault(tmp_path / "keys", None), MasterKeyUnavailable),
        (None, MasterKeyUnavailable),
    ):
        for instance in ("main", "other"):
            if (wrong, instance) != (None, "other"):
                with pytest.raises(error):
                    SqliteJournal(tmp_path, instance, wrong)
    with closing(SqliteJournal(tmp_path, "main", box)), pytest.raises(JournalInUse):
        SqliteJournal(tmp_path, "main", box)


def test_what_is_erased_after_a_change_of_form_is_erased_for_who_had_it_open_before(
    tmp_path: Path,
) -> None:
    box, erased, other = a_vault(tmp_path), finished(), finished()
    with closing(SqliteJournal(tmp_path, "main")) as journal:
        for one in (erased, other):
            journal.accept(one, None).result()
    reader = SqliteJournalReader(tmp_path, "main", box)
    assert reader.find(erased.id) == erased
    change_form(tmp_path / "keys" / "main.keys", box, wrapped=True)
    assert reader.find(erased.id) == erased
    destroy_key(tmp_path, "main", erased.id)  # which needs no master key
    with pytest.raises(Erased):
        reader.find(erased.id)
    assert reader.find(other.id) == other
    reader.close()


class Erasing:
    """Reads and erases records at once, and notes what was read wrongly."""

    def __init__(self, data: Path, box: FileVault, kept: list[Prediction]) -> None:
        self.data, self.box, self.kept = data, box, kept
        self.reader = SqliteJournalReader(data, "main", box)
        self.begun, self.done = set[PredictionId](), set[PredictionId]()
        self.wrong: list[object] = []
        self.stop = threading.Event()

    def read(self) -> None:
        while not self.stop.is_set():
            for one in self.kept:
                try:
                    self._read(one)
                except Exception as error:
                    self.wrong.append(error)

    def _read(self, one: Prediction) -> None:
        was_erased = one.id in self.done
        try:
            found = self.reader.find(one.id)
        except Erased:
            fits = one.id in self.begun
        else:
            fits = found == one and not was_erased
        if not fits:
            self.wrong.append(one.id)

    def erase(self) -> None:
        for one in self.kept[::2]:
            self.begun.add(one.id)
            destroy_key(self.data, "main", one.id, self.box)
            self.done.add(one.id)


def test_while_the_form_changes_no_reader_errs_and_no_erasure_is_lost(tmp_path: Path) -> None:
    box, kept = a_vault(tmp_path), [finished() for _ in range(40)]
    with closing(SqliteJournal(tmp_path, "main")) as journal:
        for one in kept:
            journal.accept(one, None).result()
    world = Erasing(tmp_path, box, kept)
    threads = [threading.Thread(target=work) for work in (world.read, world.read, world.erase)]
    for thread in threads:
        thread.start()
    for turn in range(8):
        with vault.alone(tmp_path / "keys"):
            change_form(tmp_path / "keys" / "main.keys", box, wrapped=turn % 2 == 0)
    threads[2].join()
    world.stop.set()
    for thread in threads:
        thread.join()
    assert world.wrong == []
    for one in kept[::2]:
        with pytest.raises(Erased):
            world.reader.find(one.id)
    world.reader.close()
