"""The engine of benchmarks costs what it is told to cost."""

from __future__ import annotations

import time

from tests.make import a_request

from ddx.adapters.instant_engine import InstantEngine


async def test_it_burns_the_processor_time_that_it_is_told() -> None:
    began_s = time.thread_time()
    await InstantEngine(cpu_ms=30).ask(a_request(), 10)
    assert time.thread_time() - began_s >= 0.03


async def test_it_waits_as_long_as_it_is_told_and_burns_nothing() -> None:
    began_s, burnt_s = time.monotonic(), time.thread_time()
    await InstantEngine(wait_ms=200).ask(a_request(), 10)
    assert time.monotonic() - began_s >= 0.2
    assert time.thread_time() - burnt_s < 0.1
