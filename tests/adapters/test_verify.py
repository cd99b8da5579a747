"""`ddx verify` finds each kind of tampering: a real journal, MLflow's real database and files."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import apsw
import pytest
from tests.make import finished
from tests.tracking_server import Stores

from ddx.adapters.ed25519 import Ed25519Signer
from ddx.adapters.mlflow_runs import BulkRuns
from ddx.adapters.sqlite_journal import SqliteJournal, SqliteJournalReader
from ddx.core.chain import Checkpoint
from ddx.core.compare import Fault
from ddx.core.ids import made_at
from ddx.core.known_ids import KnownIds, decode, encode
from ddx.core.record import Prediction
from ddx.core.run_draft import draft
from ddx.services.verify import Report, Verifier

COUNT = 5


@dataclass
class World:
    """Five predictions, kept, delivered, and their chain signed."""

    data: Path
    stores: Stores
    records: list[Prediction]
    checkpoint: Checkpoint

    def verify(self, others: Sequence[KnownIds] | None = ()) -> Report:
        with (
            closing(SqliteJournalReader(self.data, "main")) as journal,
            closing(BulkRuns(self.stores.db_uri, self.stores.artifacts_path, "me")) as runs,
        ):
            return Verifier([journal], runs, None, others).verify([self.checkpoint])

    def deliver(self, *more: Prediction) -> None:
        """Put runs into MLflow whose records stand in no journal here."""
        with closing(BulkRuns(self.stores.db_uri, self.stores.artifacts_path, "me")) as runs:
            runs.deliver([draft(one) for one in more], {})

    def journal_sql(self, statement: str) -> None:
        db = apsw.Connection(str(self.data / "journals" / "main.db"))
        db.execute("drop trigger if exists event_is_final")
        db.execute("drop trigger if exists event_stays")
        db.execute(statement)
        db.close()

    def mlflow_sql(self, statement: str) -> None:
        with closing(sqlite3.connect(self.stores.db_uri.removeprefix("sqlite:///"))) as db, db:
            assert db.execute(statement).rowcount > 0

    def artifact(self, name: str) -> Path:
        return min(Path(self.stores.artifacts_path).rglob(name))


@pytest.fixture
def world(tmp_path: Path, stores: Stores) -> World:
    data = tmp_path / "data"
    journal = SqliteJournal(data, "main")
    records = [finished() for _ in range(COUNT)]
    for record in records:
        journal.accept(record, None).result()
    journal.close()
    with closing(BulkRuns(stores.db_uri, stores.artifacts_path, "me")) as runs:
        runs.deliver([draft(record) for record in records], {})
    with closing(SqliteJournalReader(data, "main")) as reader:
        newest = reader.chained(reader.last_seq() - 1, 1)[0]
        checkpoint = Checkpoint(
            journal_id=reader.journal_id,
            instance="main",
            seq=newest.header.seq,
            link=newest.link.hex(),
            made_at="2026-01-01T12:00:00+00:00",
        )
    signer = Ed25519Signer(data / "keys")
    return World(data, stores, records, signer.read(signer.sign(checkpoint)))


def test_what_nobody_touched_has_no_difference(world: World) -> None:
    report = world.verify()
    assert report.differences == []
    assert (report.events, report.predictions, report.running) == (2 * COUNT, COUNT, 0)


def flip_a_payload_bit(world: World) -> None:
    world.journal_sql("update event set payload = zeroblob(length(payload)) where seq = 4")


def change_a_header(world: World) -> None:
    world.journal_sql("update event set written_at_us = 0 where seq = 3")


def remove_an_event(world: World) -> None:
    world.journal_sql("delete from event where seq = 5")


def swap_two_events(world: World) -> None:
    for old, new in ((3, 99), (5, 3), (99, 5)):
        world.journal_sql(f"update event set seq = {new} where seq = {old}")


def cut_the_tail(world: World) -> None:
    world.journal_sql("delete from event where seq > 8")


def remove_a_run(world: World) -> None:
    name = world.records[1].id
    world.mlflow_sql(f"update runs set lifecycle_stage = 'deleted' where name = '{name}'")


def double_a_run(world: World) -> None:
    columns = (
        "source_type, source_name, entry_point_name, user_id, status, start_time, end_time,"
        " source_version, lifecycle_stage, artifact_uri, experiment_id, name"
    )
    name = world.records[1].id
    world.mlflow_sql(
        f"insert into runs (run_uuid, {columns})"
        f" select 'f0f0', {columns} from runs where name = '{name}'"
    )
    world.mlflow_sql(
        "insert into tags (run_uuid, key, value) select 'f0f0', key, value from tags"
        f" where run_uuid = (select run_uuid from runs where name = '{name}' and"
        " run_uuid != 'f0f0')"
    )


def change_a_param(world: World) -> None:
    world.mlflow_sql("update params set value = 'gpt-4o' where key = 'llm_model'")


def change_a_metric(world: World) -> None:
    world.mlflow_sql("update metrics set value = 0.1 where key = 'processing_time'")
    world.mlflow_sql("update latest_metrics set value = 0.1 where key = 'processing_time'")


def change_a_tag(world: World) -> None:
    world.mlflow_sql("update tags set value = 'failed' where key = 'ddx.outcome'")


def change_a_status(world: World) -> None:
    world.mlflow_sql("update runs set status = 'FAILED'")


def change_a_time(world: World) -> None:
    world.mlflow_sql("update runs set end_time = end_time + 1")


def change_an_artifact_byte(world: World) -> None:
    path = world.artifact("final_response.txt")
    path.write_bytes(path.read_bytes()[:-1] + b" ")


def remove_an_artifact(world: World) -> None:
    world.artifact("input_case.txt").unlink()


def add_an_artifact(world: World) -> None:
    (world.artifact("input_case.txt").parent / "other.txt").write_text("x")


@pytest.mark.parametrize(
    ("tamper", "fault"),
    [
        (flip_a_payload_bit, Fault.CHAIN),
        (flip_a_payload_bit, Fault.PAYLOAD),
        (change_a_header, Fault.CHAIN),
        (remove_an_event, Fault.CHAIN),
        (swap_two_events, Fault.CHAIN),
        (cut_the_tail, Fault.TAIL),
        (cut_the_tail, Fault.UNKNOWN),
        (remove_a_run, Fault.MISSING),
        (double_a_run, Fault.DOUBLED),
        (change_a_param, Fault.PARAM),
        (change_a_metric, Fault.METRIC),
        (change_a_tag, Fault.TAG),
        (change_a_status, Fault.STATUS),
        (change_a_time, Fault.TIME),
        (change_an_artifact_byte, Fault.ARTIFACT),
        (remove_an_artifact, Fault.ARTIFACT),
        (add_an_artifact, Fault.ARTIFACT),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
def test_each_tampering_is_found_and_named(
    world: World, tamper: Callable[[World], None], fault: Fault
) -> None:
    tamper(world)
    report = world.verify()
    assert fault in {found.fault for found in report.differences}
    said = "".join(found.where + found.what for found in report.differences)
    assert "joint pain" not in said


def test_a_rewritten_chain_is_found_by_its_checkpoint(world: World, tmp_path: Path) -> None:
    """Whoever holds the file and the keys can make a new chain, but not the old signature."""
    other = tmp_path / "other"
    journal = SqliteJournal(other, "main")
    for record in world.records:
        journal.accept(record, None).result()
    journal.close()
    world.data = other
    assert Fault.CHECKPOINT in {found.fault for found in world.verify().differences}


def test_a_tag_that_a_person_adds_in_mlflow_is_no_difference(world: World) -> None:
    world.mlflow_sql(
        "insert into tags (run_uuid, key, value) select run_uuid, 'seen by', 'someone' from runs"
    )
    assert world.verify().ok


def test_a_run_of_another_machine_is_no_difference_and_one_of_nobody_is(world: World) -> None:
    theirs, forged = finished(), finished()
    world.deliver(theirs, forged)
    later = made_at(forged.id) + timedelta(hours=1)
    said = KnownIds(said_at=later, ids={theirs.id})
    # As it travels between the machines.
    report = world.verify([decode(encode(said))])
    assert report.elsewhere == 1
    assert [(one.fault, one.where) for one in report.differences] == [(Fault.UNKNOWN, forged.id)]
    # Where nobody was asked they are counted; where there is nobody to ask both are of no one.
    assert (world.verify(None).elsewhere, world.verify(None).ok) == (2, True)
    assert {one.where for one in world.verify().differences} == {theirs.id, forged.id}


def test_what_began_after_the_others_were_asked_is_left_to_the_next_time(world: World) -> None:
    newer = finished()
    world.deliver(newer)
    report = world.verify([KnownIds(said_at=made_at(newer.id) - timedelta(seconds=1), ids=set())])
    assert (report.elsewhere, report.ok) == (1, True)
