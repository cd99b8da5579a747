"""What `ddx doctor` calls right and wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from ddx.core.chain import ChainedEvent, Header, Kind, genesis, link
from ddx.errors import JournalDamaged
from ddx.ports import Check
from ddx.services import doctor

JOURNAL = "j" * 32


def test_one_failed_look_hides_none_of_the_others() -> None:
    def damaged() -> Check:
        raise JournalDamaged("event 7 was changed")

    def broken() -> Check:
        raise PermissionError(13, "Permission denied")

    looks: dict[str, Callable[[], Check]] = {
        "journal main": damaged,
        "MLflow database": broken,
        "disk": lambda: Check(name="disk", ok=True, found="room"),
    }

    first, second, third = doctor.examine(looks)

    assert (first.name, first.ok, first.found) == ("journal main", False, "event 7 was changed")
    assert first.advice == JournalDamaged.advice
    assert (second.name, second.ok) == ("MLflow database", False)
    assert "PermissionError" in second.found
    assert third.ok


@pytest.mark.parametrize(
    ("holder", "ours", "missing", "ok"),
    [
        (None, False, None, True),
        ("port 8000 is held by pid 7 (nc)", False, None, False),
        ("port 8000 is held by pid 7 (ddx serve)", True, None, True),
        ("port 8000 is held by pid 7 (ddx serve)", True, "/readyz answers 503", False),
    ],
)
def test_a_port_is_ok_when_free_or_when_our_own_process_answers_on_it(
    *, holder: str | None, ours: bool, missing: str | None, ok: bool
) -> None:
    found = doctor.port("server", 8000, holder, ours=ours, missing=missing)

    assert found.ok == ok
    assert (holder or "port 8000 is free") in found.found
    assert (missing or "") in found.found
    assert ok or found.advice


def test_what_others_may_read_is_not_ok_and_is_named() -> None:
    found = doctor.modes(["/x/mlflow_data (755)"])

    assert not found.ok
    assert "/x/mlflow_data (755)" in found.found
    assert doctor.modes([]).ok


@pytest.mark.parametrize(
    ("exists", "trouble", "revision", "ok", "says"),
    [
        (False, None, None, True, "not made yet"),
        (True, None, doctor.TESTED_REVISION, True, f"sound, revision {doctor.TESTED_REVISION}"),
        (True, None, "abc", True, "revision abc, not the tested"),
        (True, "row 3 missing from index", None, False, "row 3 missing from index"),
    ],
)
def test_the_database_is_judged_by_its_integrity_and_its_revision_is_said(
    *, exists: bool, trouble: str | None, revision: str | None, ok: bool, says: str
) -> None:
    found = doctor.database(exists=exists, trouble=trouble, revision=revision, where="x.db")

    assert found.ok == ok
    assert says in found.found


def test_a_database_behind_a_server_is_to_be_started_not_kept() -> None:
    found = doctor.database(
        exists=True, trouble="away", revision=None, where="postgresql://db", file=False
    )

    assert not found.ok
    assert "Start the database" in found.advice


@pytest.mark.parametrize(
    ("version", "ok"),
    [(None, False), ("3.16.0", False), ("3.16.1", True), ("3.17.2", True), ("4.0.0rc1", True)],
)
def test_mlflow_must_not_be_older_than_its_last_known_vulnerability(
    version: str | None, *, ok: bool
) -> None:
    assert doctor.mlflow_version(version).ok == ok


class Chain:
    """A JournalReader's part that the doctor uses: some events and their links."""

    instance = "main"
    journal_id = JOURNAL

    def __init__(self, count: int) -> None:
        self.chain: list[ChainedEvent] = []
        previous = genesis(JOURNAL)
        for seq in range(1, count + 1):
            header = Header(
                journal_id=JOURNAL,
                seq=seq,
                kind=Kind.ACCEPTED,
                prediction_id=f"p{seq}",
                key_id=seq,
                written_at_us=seq,
                nonce=bytes(12),
            )
            previous = link(previous, header.encode(), b"sealed")
            self.chain.append(ChainedEvent(header=header, ciphertext=b"sealed", link=previous))

    def chained(self, after: int, limit: int) -> Sequence[ChainedEvent]:
        return [event for event in self.chain if event.header.seq > after][:limit]

    def last_seq(self) -> int:
        return self.chain[-1].header.seq if self.chain else 0


def change(chain: Chain, seq: int) -> None:
    event = chain.chain[seq - 1]
    chain.chain[seq - 1] = ChainedEvent(header=event.header, ciphertext=b"changed", link=event.link)


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
def test_an_untouched_journal_of_any_length_is_ok(count: int) -> None:
    found = doctor.journal(Chain(count))  # type: ignore[arg-type]

    assert found.ok
    assert found.found == f"{count} events, the last {min(count, 1000)} of them checked"


@pytest.mark.parametrize(("count", "seq"), [(3, 1), (3, 3), (2500, 1501), (2500, 2500)])
def test_a_changed_event_among_the_newest_is_found(count: int, seq: int) -> None:
    chain = Chain(count)
    change(chain, seq)

    found = doctor.journal(chain)  # type: ignore[arg-type]

    assert not found.ok
    assert found.found.startswith(f"event {seq}: ")


def test_the_disk_is_ok_while_more_than_the_reserve_is_free() -> None:
    assert doctor.disk(300 * 2**20, 256 * 2**20).ok
    assert not doctor.disk(256 * 2**20, 256 * 2**20).ok


@pytest.mark.parametrize(
    ("waiting", "quarantined", "deliverer", "error_code", "ok"),
    [
        (0, 0, None, None, True),
        (9, 0, 7, None, True),
        (9, 0, None, None, False),
        (0, 1, 7, None, False),
        (9, 0, 7, "mlflow_unavailable", False),
    ],
)
def test_a_backlog_is_ok_while_somebody_works_on_it_without_failing(
    *, waiting: int, quarantined: int, deliverer: int | None, error_code: str | None, ok: bool
) -> None:
    found = doctor.backlog(
        waiting=waiting, quarantined=quarantined, deliverer=deliverer, error_code=error_code
    )

    assert found.ok == ok
    assert bool(found.advice) != ok


def test_only_the_default_models_key_must_be_there_and_all_are_said() -> None:
    variables = {"A_KEY": ["a"], "B_KEY": ["b", "b2"]}

    fine = doctor.keys(variables, {"A_KEY"}.__contains__, default_model="a")
    poor = doctor.keys(variables, {"A_KEY"}.__contains__, default_model="b2")

    assert fine.ok
    assert fine.found == "set: A_KEY; not set: B_KEY (for b, b2)"
    assert not poor.ok
