"""So many calls at once, and none for a while where all fail."""

from __future__ import annotations

import threading
import time

import pytest

from ddx.adapters.dspy_engine.gate import CLOSED_S, FAILURES, Gate, GateBusy, GateClosed


class Watch:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def fail(gate: Gate, times: int) -> None:
    for _ in range(times):
        gate.enter(0)
        gate.leave(answered=False)


def test_after_many_failures_in_a_row_one_call_tries_at_a_time() -> None:
    watch = Watch()
    gate = Gate(now=watch)
    fail(gate, FAILURES)
    with pytest.raises(GateClosed):
        gate.enter(0)

    watch.now += CLOSED_S
    gate.enter(0)  # the one that tries
    with pytest.raises(GateClosed):
        gate.enter(0)
    gate.leave(answered=False)
    with pytest.raises(GateClosed):
        gate.enter(0)

    watch.now += CLOSED_S
    gate.enter(0)
    gate.leave(answered=True)
    gate.enter(0)
    gate.enter(0)


def test_one_answer_begins_the_count_anew() -> None:
    gate = Gate(now=Watch())
    fail(gate, FAILURES - 1)
    gate.enter(0)
    gate.leave(answered=True)
    fail(gate, FAILURES - 1)
    gate.enter(0)


def test_who_finds_no_place_while_trying_leaves_the_try_to_another() -> None:
    watch = Watch()
    gate = Gate(at_once=1, now=watch)
    fail(gate, FAILURES)
    watch.now += CLOSED_S
    gate.enter(0)
    gate.leave(answered=False)
    watch.now += CLOSED_S
    gate.enter(0)
    gate.leave(answered=True)
    gate.enter(0)
    with pytest.raises(GateBusy):
        gate.enter(0)


def test_no_more_calls_than_places_are_under_way() -> None:
    gate, running, most = Gate(at_once=3), [0], [0]
    lock = threading.Lock()

    def call() -> None:
        gate.enter(10)
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        with lock:
            running[0] -= 1
        gate.leave(answered=True)

    threads = [threading.Thread(target=call) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 3
