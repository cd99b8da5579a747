"""`ddx reset`: named, agreed to, stopped, deleted; in that order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ddx.errors import FilesInUse, OutputRefused
from ddx.services.reset import Done, Loss, Plan, plan, reset

JOURNALS = Loss(what="journals (2 events)", place="ddx_data", size_bytes=10)
RUNS = Loss(what="MLflow's runs (1)", place="mlflow.db", size_bytes=20)


class FakeSite:
    """A Site that writes down what is done to it."""

    def __init__(
        self,
        losses: Sequence[Loss] = (JOURNALS, RUNS),
        running: Sequence[int] = (7, 8),
        strangers: Sequence[str] = (),
        deaf: int | None = None,
    ) -> None:
        self._losses, self._running, self._strangers = losses, list(running), strangers
        self._deaf = deaf
        self.diary: list[str] = []

    def losses(self) -> Sequence[Loss]:
        return self._losses

    def kept(self) -> Sequence[str]:
        return ["the database postgresql://h/d: not a local file of ours"]

    def running(self) -> Sequence[int]:
        return list(self._running)

    def strangers(self) -> Sequence[str]:
        return self._strangers

    def said(self, pid: int) -> str:
        return f"pid {pid}"

    def stop(self, pid: int) -> bool:
        self.diary.append(f"stop {pid}")
        return pid != self._deaf

    def delete(self, loss: Loss) -> None:
        self.diary.append(f"delete {loss.place}")


def test_the_plan_names_everything_and_does_nothing() -> None:
    site = FakeSite()

    assert plan(site) == Plan(
        losses=(JOURNALS, RUNS),
        kept=["the database postgresql://h/d: not a local file of ours"],
        stops=["pid 7", "pid 8"],
    )
    assert site.diary == []


def test_a_no_leaves_all_as_it_is() -> None:
    site = FakeSite()
    shown: list[Plan] = []

    def refuses(proposed: Plan) -> bool:
        shown.append(proposed)
        return False

    assert reset(site, refuses) is None

    assert shown == [plan(site)]
    assert site.diary == []


def test_a_yes_stops_our_processes_before_it_deletes() -> None:
    site = FakeSite()

    done = reset(site, lambda _: True)

    assert site.diary == ["stop 7", "stop 8", "delete ddx_data", "delete mlflow.db"]
    assert done == Done(stopped=["pid 7", "pid 8"], deleted=[JOURNALS, RUNS])


def test_a_backup_is_made_when_all_is_stopped_and_before_anything_is_deleted() -> None:
    site = FakeSite()

    reset(site, lambda _: True, lambda: site.diary.append("back up"))

    assert site.diary == ["stop 7", "stop 8", "back up", "delete ddx_data", "delete mlflow.db"]


def test_a_backup_that_fails_saves_the_data() -> None:
    site = FakeSite()

    def fails() -> None:
        raise OutputRefused

    with pytest.raises(OutputRefused):
        reset(site, lambda _: True, fails)

    assert site.diary == ["stop 7", "stop 8"]


def test_a_process_that_does_not_stop_saves_the_data() -> None:
    site = FakeSite(deaf=7)

    with pytest.raises(FilesInUse, match="pid 7 does not stop"):
        reset(site, lambda _: True)

    assert site.diary == ["stop 7"]


def test_another_program_with_the_files_open_saves_the_data() -> None:
    site = FakeSite(strangers=["pid 9 (sqlite3 mlflow.db)"])

    with pytest.raises(FilesInUse, match=r"in use by pid 9 \(sqlite3 mlflow.db\)"):
        reset(site, lambda _: True)

    assert not [line for line in site.diary if line.startswith("delete")]


def test_where_there_is_nothing_nobody_is_asked_and_nothing_is_stopped() -> None:
    site = FakeSite(losses=())

    def asked(_: Plan) -> bool:
        raise AssertionError("nobody should be asked")

    assert reset(site, asked) == Done()
    assert site.diary == []
