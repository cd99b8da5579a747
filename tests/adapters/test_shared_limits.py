"""What a caller uses is counted by all processes together."""

from __future__ import annotations

from pathlib import Path

from ddx.adapters.shared_limits import SharedLimits


def test_what_is_under_way_anywhere_counts(tmp_path: Path) -> None:
    one, other = SharedLimits(tmp_path, "main"), SharedLimits(tmp_path, "main-2")
    assert one.enter("clinic", 2)
    assert other.enter("clinic", 2)
    assert other.enter("another", 2)
    assert not one.enter("clinic", 2)
    assert not other.enter("clinic", 2)
    one.leave("clinic")
    assert other.enter("clinic", 2)
    assert not one.enter("clinic", 2)


def test_what_a_dead_process_had_under_way_is_forgotten(tmp_path: Path) -> None:
    one, dead = SharedLimits(tmp_path, "main"), SharedLimits(tmp_path, "main-2")
    assert one.enter("clinic", 2)
    assert dead.enter("clinic", 2)
    SharedLimits(tmp_path, "main-2").forget()
    assert one.enter("clinic", 2)
    assert not one.enter("clinic", 2)


def test_a_rate_is_one_for_all_processes(tmp_path: Path) -> None:
    both = SharedLimits(tmp_path, "main"), SharedLimits(tmp_path, "main-2")
    waits = [both[n % 2].wait_s("clinic", 6, now_s=100.0) for n in range(8)]
    assert waits == [0.0] * 6 + [10.0] * 2
    assert both[0].wait_s("clinic", 6, now_s=110.0) == 0.0
    assert both[1].wait_s("clinic", 6, now_s=110.0) == 10.0
    assert both[1].wait_s("another", 6, now_s=110.0) == 0.0


def test_a_clock_that_was_read_earlier_takes_nothing_back(tmp_path: Path) -> None:
    both = SharedLimits(tmp_path, "main"), SharedLimits(tmp_path, "main-2")
    assert both[0].wait_s("clinic", 1, now_s=100.0) == 0.0
    assert both[1].wait_s("clinic", 1, now_s=99.0) == 60.0
