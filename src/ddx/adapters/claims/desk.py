"""A thread that does what waits for a database, many wishes to one transaction."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from ddx.errors import ClaimsUnavailable, DdxError

log = logging.getLogger("ddx")
BATCH = 256
"""Most wishes in one transaction."""
AGAIN_S = 1.0
"""So soon what is owed is tried again."""


@dataclass(slots=True)
class Job:
    """One wish, and where its answer is waited for."""

    do: Callable[[Any], Any]
    """Is given the transaction."""
    order: bytes = b""
    """Rows are taken in one order everywhere, so that two transactions never wait in a ring."""
    owed: bool = False
    """Whether it is tried until it is done, whoever was told otherwise."""
    answer: Future[Any] = field(default_factory=Future)


class Desk:
    """Takes wishes from any thread, and does them in its own."""

    def __init__(self, run: Callable[[list[Job]], list[Any]], idle: Callable[[], None]) -> None:
        """`run` does jobs in one transaction and returns their results, or raises a DdxError and
        has changed nothing. `idle` is called about every AGAIN_S.
        """
        self._run_all, self._idle = run, idle
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._owed: list[Job] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="claims", daemon=True)
        self._thread.start()

    def ask(self, job: Job) -> Future[Any]:
        """Hand a wish over; return its answer's future."""
        if self._closed:
            job.answer.set_exception(ClaimsUnavailable("the claims are closed"))
        else:
            self._jobs.put(job)
        return job.answer

    def close(self) -> None:
        """Do what waits, then end."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            self._thread.join()

    def _run(self) -> None:
        going_on, idle_at = True, time.monotonic()
        while going_on:
            batch = self._waiting()
            going_on = None not in batch
            self._do([*self._owed, *(job for job in batch if job is not None)])
            if time.monotonic() >= idle_at:
                # It is for signs of life: what it meets is met by the next wish, too.
                with suppress(DdxError):
                    self._idle()
                idle_at = time.monotonic() + AGAIN_S

    def _waiting(self) -> list[Job | None]:
        batch: list[Job | None] = []
        with suppress(Empty):
            batch.append(self._jobs.get(timeout=AGAIN_S))
            while len(batch) < BATCH:
                batch.append(self._jobs.get_nowait())
        return batch

    def _do(self, jobs: list[Job]) -> None:
        if not jobs:
            return
        jobs.sort(key=lambda job: job.order)
        try:
            answers = self._run_all(jobs)
        except Exception as error:
            # Whatever it is, this thread goes on: others wait for it.
            told = error if isinstance(error, DdxError) else _unforeseen(error)
            self._owed = [job for job in jobs if job.owed]
            for job in jobs:
                if not job.answer.done():
                    job.answer.set_exception(told)
            return
        self._owed = []
        for job, answer in zip(jobs, answers, strict=True):
            if not job.answer.done():
                job.answer.set_result(answer)


def _unforeseen(error: Exception) -> ClaimsUnavailable:
    log.error("claims fault", extra={"event": "claims_fault", "kind": type(error).__name__})
    return ClaimsUnavailable(f"the claims failed with {type(error).__name__}")
