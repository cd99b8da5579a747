"""`ddx up` with stand-in children: what is promised of starting, restarting and stopping."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from ddx.core.delivery import Backoff
from ddx.errors import PortInUse, ServerNotReady
from ddx.services.up import Spec, Supervisor


class FakeTime:
    """A clock that moves by a second each time it is read."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> object:
        raise AssertionError("supervision goes by the monotonic clock")

    def monotonic(self) -> float:
        self.seconds += 1.0
        return self.seconds


class FakeChild:
    """A process that ends when it is told, and writes down what was done to it."""

    def __init__(self, name: str, diary: list[str]) -> None:
        self.pid = 1
        self.name = name
        self.diary = diary
        self.code: int | None = None
        self.obeys = True
        diary.append(f"start {name}")

    def ended(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        self.diary.append(f"terminate {self.name}")
        if self.obeys:
            self.code = 0

    def kill(self) -> None:
        self.diary.append(f"kill {self.name}")
        self.code = self.code if self.code is not None else -9


class Stage:
    """Children by name, in the order of their lives, and what was said."""

    def __init__(self) -> None:
        self.diary: list[str] = []
        self.said: list[str] = []
        self.lives: dict[str, list[FakeChild]] = {}

    def spec(
        self,
        name: str,
        *,
        holder: str | None = None,
        waits_for: Callable[[], str | None] = lambda: None,
        born: Callable[[FakeChild], None] = lambda child: None,
    ) -> Spec:
        def start() -> FakeChild:
            child = FakeChild(name, self.diary)
            self.lives.setdefault(name, []).append(child)
            born(child)
            return child

        return Spec(
            name=name,
            start=start,
            waits_for=waits_for,
            holder=lambda: holder,
            last_words=lambda: "  its last words",
            ready_within_s=20,
            stop_within_s=5,
        )

    def supervisor(self, *specs: Spec, at_once: bool = False) -> Supervisor:
        return Supervisor(
            specs,
            at_once=at_once,
            clock=FakeTime(),  # type: ignore[arg-type]  # it has no wall clock, on purpose
            say=self.said.append,
            backoff=Backoff(first_s=2.0),
            luck=lambda: 0.0,
        )


def soon(act: Callable[[], None]) -> None:
    threading.Timer(0.5, act).start()


def test_a_taken_port_is_named_before_anything_starts() -> None:
    stage = Stage()
    supervisor = stage.supervisor(
        stage.spec("server"), stage.spec("MLflow", holder="port 5000 is held by pid 7 (nc)")
    )

    with pytest.raises(PortInUse, match=r"MLflow cannot start: port 5000 is held by pid 7"):
        supervisor.check_ports()

    assert stage.diary == []


def test_all_start_together_and_stop_in_their_order_each_with_its_whole_group() -> None:
    stage = Stage()
    supervisor = stage.supervisor(stage.spec("server"), stage.spec("MLflow"))

    supervisor.run(supervisor.stop)

    assert stage.diary == [
        "start server",
        "start MLflow",
        "terminate server",
        "kill server",
        "terminate MLflow",
        "kill MLflow",
    ]
    assert stage.said[-2:] == ["server stopped", "MLflow stopped"]


def test_those_that_stop_at_once_are_all_told_before_any_is_waited_for() -> None:
    stage = Stage()
    supervisor = stage.supervisor(stage.spec("one"), stage.spec("two"), at_once=True)

    supervisor.run(supervisor.stop)

    assert stage.diary[2:] == ["terminate one", "terminate two", "kill one", "kill two"]
    assert stage.said[-2:] == ["one stopped", "two stopped"]


def test_one_that_ended_is_buried_before_it_is_started_again() -> None:
    stage = Stage()
    buried: list[tuple[int, int]] = []
    spec = replace(
        stage.spec("one"), buried=lambda pid: buried.append((pid, len(stage.lives["one"])))
    )
    supervisor = stage.supervisor(spec)

    def die() -> None:
        stage.lives["one"][0].code = -9
        soon(supervisor.stop)

    supervisor.run(die)

    assert buried == [(1, 1)]


def test_readiness_is_announced_once_and_only_when_all_are_ready() -> None:
    stage = Stage()
    answers = iter(["it loads", "it loads", None])
    announced: list[int] = []
    supervisor = stage.supervisor(
        stage.spec("server"), stage.spec("MLflow", waits_for=lambda: next(answers))
    )
    soon(supervisor.stop)

    supervisor.run(lambda: announced.append(len(stage.said)))

    assert len(announced) == 1
    assert next(answers, "all asked") == "all asked"
    assert [line for line in stage.said if "is ready" in line][-1].startswith("MLflow")


def test_a_child_that_dies_is_started_again_and_that_is_said() -> None:
    stage = Stage()
    supervisor = stage.supervisor(stage.spec("server"), stage.spec("deliverer"))

    def kill_the_server() -> None:
        stage.lives["server"][0].code = -9
        soon(supervisor.stop)

    supervisor.run(kill_the_server)

    assert len(stage.lives["server"]) == 2
    assert len(stage.lives["deliverer"]) == 1
    assert "server ended (signal 9); it is started again in 1.0 s" in stage.said
    # Its group goes first: what it left would hold the port.
    assert stage.diary.index("kill server") < stage.diary.index("start server", 1)


def test_the_wait_before_a_restart_grows_with_each_failure() -> None:
    stage = Stage()
    running = threading.Event()

    def dies_once_running(child: FakeChild) -> None:
        if running.is_set() and len(stage.lives["server"]) < 4:
            child.code = 1

    supervisor = stage.supervisor(stage.spec("server", born=dies_once_running))

    def begin() -> None:
        running.set()
        stage.lives["server"][0].code = 1
        threading.Timer(2.5, supervisor.stop).start()

    supervisor.run(begin)

    waits = [line.rpartition(" in ")[2] for line in stage.said if "started again" in line]
    assert waits == ["1.0 s", "2.0 s", "4.0 s"]


def test_one_that_keeps_dying_before_it_was_ever_ready_is_an_error_with_its_last_words() -> None:
    stage = Stage()

    def dies(child: FakeChild) -> None:
        child.code = 3

    supervisor = stage.supervisor(stage.spec("server", born=dies), stage.spec("MLflow"))

    with pytest.raises(ServerNotReady, match=r"(?s)exit code 3.* 3 times .*last words"):
        supervisor.run(lambda: None)

    assert len(stage.lives["server"]) == 3
    assert stage.lives["MLflow"][0].code == 0, "nothing is left running"


def test_one_that_never_gets_ready_is_an_error_that_says_what_is_missing() -> None:
    stage = Stage()
    supervisor = stage.supervisor(
        stage.spec("server", waits_for=lambda: "/readyz answers 503"), stage.spec("MLflow")
    )

    with pytest.raises(ServerNotReady, match=r"not ready after .*: /readyz answers 503"):
        supervisor.run(lambda: None)

    assert [lives[0].code for lives in stage.lives.values()] == [0, 0]


def test_one_that_ignores_the_request_to_stop_is_killed() -> None:
    stage = Stage()

    def ignores(child: FakeChild) -> None:
        child.obeys = False

    supervisor = stage.supervisor(stage.spec("server", born=ignores))

    supervisor.run(supervisor.stop)

    assert stage.diary == ["start server", "terminate server", "kill server"]
    assert "server did not stop in time: it is killed" in stage.said


def test_a_second_request_to_stop_waits_for_nobody() -> None:
    stage = Stage()

    def ignores(child: FakeChild) -> None:
        child.obeys = False

    supervisor = stage.supervisor(stage.spec("server", born=ignores))

    def twice() -> None:
        supervisor.stop()
        supervisor.stop()

    supervisor.run(twice)

    assert stage.diary[-1] == "kill server"
    assert "server did not stop in time: it is killed" not in stage.said
