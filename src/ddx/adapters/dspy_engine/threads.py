"""Threads that wait for models, and never keep the process from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """At most `most` threads, started as they are needed.

    They are daemons, unlike those of concurrent.futures, which a process joins at its end: a
    server that is told to stop would wait for the slowest model.
    """

    def __init__(self, most: int, name: str) -> None:
        if most < 1:
            raise ValueError(f"at least one thread is needed, got {most}")
        self._most = most
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = 0
        self._idle = 0

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Run a job when a thread is free; a job that is cancelled before then is not run."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = job()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._started < self._most:
                self._started += 1
                name = f"{self._name}-{self._started}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
            self._jobs.put(run)
        return future

    def _work(self) -> None:
        while True:
            self._jobs.get()()
            with self._lock:
                # Jobs that wait for a thread were counted by nobody: they are for this one.
                if self._jobs.empty():
                    self._idle += 1
