"""The arithmetic of capacity, by hand, and what counts processor time and commits."""

from __future__ import annotations

import doctest
import subprocess
import sys
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType

import pytest
from bench.capacity import inputs, plan_lines
from bench.capacity_costs import commits, server_costs
from bench.capacity_model import EVENTS, Costs, Place, events_of_commit, forecast
from bench.capacity_plan import Assumed, limits, money, needs, worker
from bench.processes import on_one_core, taken
from tests.make import finished

from bench import capacity_model, capacity_rounds
from ddx.adapters.sqlite_journal import SqliteJournal

COSTS = Costs(
    **{field.name: 1.0 for field in fields(Costs)}
    | {
        "fixed_ms": 1.0,
        "commit_ms": 0.0,
        "crowd_ms": 0.0,
        "stand_ms": 0.0,
        "apart_ms": 0.0,
        "apart_stand_ms": 0.0,
        "gathered": 0.5,
        "kernel_ms": 0.2,
        "generator_ms": 0.25,
        "latency_ms": 5.0,
        "commit_every_ms": 4.0,
        "files": 5.0,
    }
)
PLACE = Place(workers=1, cores=2, connections=64, worker_cores=1, all_cores=2, sync_ms=1)
TEAM = replace(PLACE, workers=2, worker_cores=2)
"""As many workers as cores: the load is on theirs, too."""


def assumed(**changes: float) -> Assumed:
    return replace(inputs(None)[1], **changes)


def need(part: str, what: str, rate: float, one: Assumed, *, objects: bool = True) -> float:
    found = needs(COSTS, one, rate, objects=objects)
    return next(need.amount for need in found if (need.part, need.what) == (part, what))


def test_one_worker_is_bound_by_the_one_core_on_which_it_runs_python() -> None:
    said = forecast(COSTS, PLACE)

    assert said.bound_by == "workers"
    assert said.per_second == pytest.approx(1000 / (1.0 - 0.2))


def test_more_workers_than_cores_are_bound_by_the_cores_that_the_load_shares() -> None:
    said = forecast(COSTS, replace(PLACE, workers=4, worker_cores=2))

    assert said.per_second == pytest.approx(2 * 1000 / (1.0 + 0.25))


def test_cores_that_do_less_together_bound_what_their_workers_answer() -> None:
    less = forecast(COSTS, replace(TEAM, worker_cores=1.8, all_cores=1.5))

    assert less.bound_by == "cores"
    assert less.per_second == pytest.approx(1.5 * 1000 / (1.0 + 0.25))


def test_what_workers_that_share_a_core_cost_more_is_paid_by_them_alone() -> None:
    costs = replace(COSTS, crowd_ms=0.5)
    found = [forecast(costs, replace(TEAM, workers=number)).cpu_ms for number in (1, 2, 4, 6)]

    assert found == [1.0, 1.0, 1.5, 2.0]


def test_a_worker_stands_still_for_its_syncs_and_another_on_its_core_goes_on() -> None:
    costs = replace(COSTS, stand_ms=0.5, apart_stand_ms=0.5)
    two, four = (forecast(costs, replace(TEAM, workers=number)) for number in (2, 4))
    own_ms = 1.0 + 0.25

    # Where one stands, the other has a core to spare for its load and the kernel's share.
    assert 2000 / (own_ms + two.commits * 0.5) < two.per_second < 2000 / own_ms
    assert four.commits > two.commits, "fewer connections for each"
    assert four.per_second > two.per_second, "all the same"
    assert four.per_second < 2000 / own_ms


def test_threads_on_two_cores_cost_more_where_there_is_one_to_spare() -> None:
    costs = replace(COSTS, apart_ms=0.3, apart_stand_ms=0.8)
    alone, full = forecast(costs, PLACE), forecast(costs, TEAM)

    assert alone.cpu_ms == pytest.approx(1.3)
    assert full.cpu_ms == pytest.approx(1.0)
    assert alone.commits == pytest.approx(EVENTS / 32), (
        "half of its connections wait for the same commit"
    )
    assert alone.per_second == pytest.approx(1000 / (1.3 - 0.2 + alone.commits * 0.8))


def test_few_connections_are_bound_by_what_each_waits_for() -> None:
    one = forecast(COSTS, replace(PLACE, connections=1))
    slower = forecast(COSTS, replace(PLACE, connections=1, sync_ms=6))

    assert one.bound_by == slower.bound_by == "connections"
    assert one.per_second == pytest.approx(1000 / 5)
    assert slower.per_second == pytest.approx(1000 / (5 + 2 * 5)), "two syncs of 5 ms more"


def test_a_disk_that_syncs_once_in_ten_seconds_bounds_full_commits() -> None:
    for place in (PLACE, TEAM):
        said = forecast(COSTS, replace(place, connections=1_000_000, sync_ms=10_000))

        assert said.commits == pytest.approx(EVENTS / 512, rel=0.01)
        each = place.workers * 512 / EVENTS / 10
        assert said.per_second == pytest.approx(each, rel=0.05), "a commit of 512 in ten seconds"


def test_the_engine_is_paid_for_in_the_server() -> None:
    assert forecast(COSTS, replace(PLACE, engine_ms=4)).per_second == pytest.approx(1000 / 4.8)


def test_commits_get_fewer_with_the_load_and_agree_with_the_rate_they_make() -> None:
    costs = replace(COSTS, commit_ms=0.4)
    low = forecast(costs, replace(TEAM, connections=2))
    said = forecast(costs, TEAM)

    assert low.commits == EVENTS
    assert said.commits < 1
    assert said.commits == pytest.approx(
        EVENTS / events_of_commit(EVENTS * said.per_second / 2, 4.0, 32), rel=1e-3
    )
    assert said.cpu_ms == pytest.approx(1.0 + 0.4 * said.commits)


def test_an_engine_keeps_the_interpreter_from_the_journal_so_that_commits_take_more_time() -> None:
    slow, slower = (forecast(COSTS, replace(TEAM, engine_ms=ms)) for ms in (2, 50))

    for said, every_ms in ((slow, 4.0 + 2), (slower, 4.0 + 5)):
        assert said.commits == pytest.approx(
            min(2.0, EVENTS / (EVENTS * said.per_second / 2 * every_ms / 1000)), rel=1e-3
        )


@pytest.mark.parametrize("module", [capacity_model, capacity_rounds])
def test_the_examples_beside_the_arithmetic_are_true(module: ModuleType) -> None:
    done = doctest.testmod(module)

    assert done.attempted
    assert not done.failed


def test_costs_follow_from_loads() -> None:
    loads = {
        "bare_cpu": 0.2,
        "memory_cpu": 0.5,
        "low_cpu": 1.2,
        "low_commits": 2.0,
        "full_cpu": 0.9,
        "full_commits": 0.5,
        "full_took": 1.0,
        "pair_cpu": 1.05,
        "pair_commits": 0.75,
        "spare_cpu": 0.9,
        "spare_commits": 0.125,
        "spare_took": 0.95,
        "kernel_ms": 0.05,
        "generator_ms": 0.04,
    }
    found = server_costs(loads, 32)

    assert found["commit_ms"] == pytest.approx((1.2 - 0.9) / 1.5)
    assert found["fixed_ms"] == pytest.approx(0.9 - 0.5 * 0.2)
    assert found["crowd_ms"] == pytest.approx(1.05 - 0.8 - 0.75 * 0.2)
    assert found["apart_ms"] == pytest.approx(0.9 - 0.8 - 0.125 * 0.2)
    assert found["stand_ms"] == pytest.approx((1.0 - 0.9 - 0.04) / 0.5)
    assert found["apart_stand_ms"] == pytest.approx((0.95 - (0.9 - 0.05)) / 0.125)
    assert found["commit_every_ms"] == pytest.approx(2.0)
    assert found["gathered"] == pytest.approx(16 / 32)
    assert found["http_ms"] == 0.2
    assert found["record_ms"] == pytest.approx(0.3)


def test_a_forecast_from_the_measured_costs_is_settled() -> None:
    for workers in (1, 2, 3, 4, 8, 64):
        for connections in (1, 32, 4096):
            place = replace(
                PLACE,
                workers=workers,
                connections=connections,
                worker_cores=min(workers, 2),
                sync_ms=0.25,
            )
            said = forecast(inputs(None)[0], place)
            again = forecast(inputs(None)[0], replace(place, engine_ms=1e-9))
            assert said.per_second == pytest.approx(again.per_second, rel=1e-3)


def test_cores_are_counted_for_the_peak_and_bytes_for_the_mean() -> None:
    whole, half = assumed(mean=1, target=0.5, engine_ms=0), assumed(mean=0.5, target=0.5)

    assert need("server", "cores", 1000, whole) == pytest.approx(1000 * 1.0 / 1000 / 0.5)
    assert need("PostgreSQL", "cores", 1000, half) == pytest.approx(2)
    assert need("files", "written a second", 1000, half) == 5000
    assert need("journals", "GB a day", 1000, half) == pytest.approx(
        need("journals", "GB a day", 1000, whole) / 2
    )


def test_a_journal_is_there_for_each_worker_and_for_each_deliverer() -> None:
    slow = replace(COSTS, deliver_s3_ms=60.0)
    for objects, least in ((True, 100), (False, 2)):
        found = needs(slow, assumed(target=0.6, engine_ms=0), 1000, objects=objects)
        amounts = {(one.part, one.what): one.amount for one in found}
        assert amounts["journals", "at least"] == least


def test_what_breaks_first_is_first_and_a_bigger_one_of_it_breaks_later() -> None:
    small, big = limits(COSTS, assumed(database_runs=1)), limits(COSTS, assumed(database_runs=1e12))

    assert small[0].part.startswith("one MLflow's pages")
    assert not big[0].part.startswith("one MLflow's pages")
    assert [one.per_second for one in big] == sorted(one.per_second for one in big)


def test_without_trackers_no_claims_are_needed() -> None:
    parts = [one.part for one in limits(COSTS, assumed(tracker_share=0))]

    assert not [part for part in parts if "claims" in part]
    assert need("claims", "databases", 1000, assumed(tracker_share=0)) == 0


def test_a_month_of_put_requests_costs_what_a_calculator_says() -> None:
    bill = money(COSTS, assumed(mean=0.5, usd_put_1000=0.005), 1000, objects=True)

    assert bill["files, PUT requests"] == pytest.approx(500 * 730 * 3600 * 5 / 1000 * 0.005)
    assert "files, PUT requests" not in money(COSTS, assumed(), 1000, objects=False)


def test_a_worker_with_a_slower_engine_answers_less_and_syncs_more_for_each() -> None:
    costs = replace(COSTS, commit_ms=0.4)
    quick, slow = (worker(costs, assumed(engine_ms=ms), 0.6) for ms in (0, 50))

    assert quick.per_second > slow.per_second
    assert quick.commits < slow.commits


def test_inputs_override_and_a_wrong_name_is_said(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[assumed]\nnode_cores = 64\n[costs]\nfiles = 5.5\n")
    costs, one = inputs(mine)
    assert (costs.files, one.node_cores) == (5.5, 64)

    mine.write_text("[assumed]\nnode_coers = 64\n")
    with pytest.raises(SystemExit, match="node_coers"):
        inputs(mine)


def test_the_document_has_the_plan_as_it_is_reckoned() -> None:
    document = (Path(__file__).parents[2] / "docs" / "capacity.md").read_text()

    assert "\n".join(plan_lines(10_000)) in document


def test_each_transaction_of_a_journal_is_counted(tmp_path: Path) -> None:
    with closing(SqliteJournal(tmp_path, "main")) as journal:
        index = tmp_path / "journals" / "main.db-shm"
        journal.accept(finished(), None).result()
        before = commits(index)
        for _ in range(1500):  # more than a checkpoint's thousand pages
            journal.probe().result()
        assert commits(index) - before == 1500


def test_the_time_of_a_child_and_of_a_second_thread_is_counted() -> None:
    burn = "import time\nwhile time.thread_time() < 0.3: pass\n"
    script = (
        "import subprocess, sys, threading, time\n"
        f"burn = {burn!r}\n"
        "thread = threading.Thread(target=exec, args=(burn, {}))\n"
        "thread.start(); thread.join()\n"
        "subprocess.run([sys.executable, '-c', burn])\n"
        "child = subprocess.Popen([sys.executable, '-c', burn + 'print(flush=True); input()'],"
        " stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(flush=True); input(); child.communicate(b'\\n')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        found = taken(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
    assert found.cpu_s >= 0.85, "its own thread, a child that ended, one that runs"
    assert found.main_s < found.cpu_s - 0.5


def test_one_core_is_for_what_starts_meanwhile_and_not_for_what_comes_after() -> None:
    def seen() -> int:
        script = "import os; print(len(os.sched_getaffinity(0)))"
        return int(subprocess.check_output([sys.executable, "-c", script]))

    before = seen()
    with on_one_core():
        assert seen() == 1
    assert seen() == before
