"""Several real deliverers on one data folder: each journal has one, whoever dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.make import finished

from ddx.adapters.delivery_state import DeliveryStatusReader
from ddx.adapters.delivery_state.lease import held_by
from ddx.adapters.delivery_state.share import lease_of
from ddx.adapters.sqlite_journal import SqliteJournal
from ddx.cli import run
from ddx.cli.exits import EXIT_CODE

IN_USE = EXIT_CODE["delivery_in_use"]
INSTANCES = ("a", "b", "c", "d")


@pytest.fixture
def home(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DDX_HOME", str(tmp_path))
    monkeypatch.setenv("DDX_DELIVERY", "bulk")
    (tmp_path / "mlflow_data").mkdir(mode=0o700)
    shutil.copy(empty_database, tmp_path / "mlflow_data" / "mlflow.db")
    (tmp_path / "ddx_data").mkdir(mode=0o700)
    return tmp_path


@pytest.fixture
def journals(home: Path) -> Iterator[dict[str, SqliteJournal]]:
    """Journals of four servers that live."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(closing(SqliteJournal(home / "ddx_data", name)))
            for name in INSTANCES
        }


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    running: list[subprocess.Popen[bytes]] = []

    def one(*more: str) -> subprocess.Popen[bytes]:
        with (home / f"log{len(running)}").open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "ddx", "deliver", *more],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        running.append(child)
        return child

    yield one
    for child in running:
        child.terminate()
    for child in running:
        child.wait(30)


def until(true: Callable[[], bool], within_s: float = 60.0) -> None:
    give_up_at = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < give_up_at, "it does not come about"
        time.sleep(0.05)


def keep(journals: dict[str, SqliteJournal], count: int) -> int:
    waiting = [
        journal.accept(finished(), None) for journal in journals.values() for _ in range(count)
    ]
    for one in waiting:
        one.result()
    return len(waiting)


def holders(data: Path) -> dict[str, int | None]:
    return {name: held_by(lease_of(data, name)) for name in INSTANCES}


def delivered(home: Path) -> int:
    with closing(sqlite3.connect(home / "mlflow_data" / "mlflow.db", timeout=20)) as db:
        return int(db.execute("select count(*) from runs").fetchone()[0])


def test_two_share_the_journals_and_one_takes_over_what_the_other_leaves(
    home: Path,
    journals: dict[str, SqliteJournal],
    start: Callable[..., subprocess.Popen[bytes]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = home / "ddx_data"
    kept = keep(journals, 5)
    first, second = start(), start()

    def shared() -> bool:
        return sorted(map(str, holders(data).values())) == sorted(
            map(str, [first.pid, first.pid, second.pid, second.pid])
        )

    until(lambda: None not in holders(data).values())
    kept += keep(journals, 5)  # work, which is what is shared out evenly
    until(shared)
    until(lambda: delivered(home) == kept)

    first.send_signal(signal.SIGKILL)
    first.wait()
    kept += keep(journals, 5)
    until(lambda: set(holders(data).values()) == {second.pid})
    until(lambda: delivered(home) == kept)
    assert DeliveryStatusReader(data).holder() is not None

    second.terminate()
    second.wait(30)
    assert DeliveryStatusReader(data).holder() is None
    assert set(holders(data).values()) == {None}
    assert run(["verify", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["predictions"], found["differences"]) == (kept, [])


def test_what_must_be_alone_is_refused_beside_others(
    home: Path, journals: dict[str, SqliteJournal], start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    start()
    until(lambda: None not in holders(home / "ddx_data").values())
    for alone in (["--once"], ["--rebuild"], ["--retry-quarantined"]):
        assert run(["deliver", *alone]) == IN_USE, alone
    assert run(["ledger", "rebuild"]) == IN_USE
    assert journals


def test_one_command_starts_and_keeps_several(
    home: Path, journals: dict[str, SqliteJournal], start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    data = home / "ddx_data"
    kept = keep(journals, 5)
    parent = start("--deliverers", "2")

    def both_at_work() -> bool:
        found = {one for one in holders(data).values() if one}
        return len(found) == 2 and parent.pid in found

    until(lambda: None not in holders(data).values())
    kept += keep(journals, 5)
    until(both_at_work)
    child = next(one for one in holders(data).values() if one not in (None, parent.pid))
    os.kill(child or 0, signal.SIGKILL)
    until(lambda: both_at_work() and child not in holders(data).values())
    until(lambda: delivered(home) == kept)
    parent.terminate()
    assert parent.wait(30) == 0
    until(lambda: set(holders(data).values()) == {None}, 5)


def test_progress_is_that_of_the_journal_that_waits_longest(
    home: Path, journals: dict[str, SqliteJournal], start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    data = home / "ddx_data"
    child = start()
    until(lambda: None not in holders(data).values())
    child.send_signal(signal.SIGKILL)
    child.wait()
    for name in INSTANCES:
        os.utime(lease_of(data, name), (2000, 2000))
    os.utime(lease_of(data, "c"), (1000, 1000))
    os.utime(data / "delivery.lock", (500, 500))
    assert DeliveryStatusReader(data).status().alive_ms == 1_000_000
    assert journals
