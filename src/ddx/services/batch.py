"""Batches: many cases taken at once, each answered as if it had come alone.

What is promised: once a batch is taken, each of its cases ends with one outcome, whatever dies
in between. Each case is asked with a tracker, so a case that was answered before a crash is not
asked again, and one that was cut off is tried again as a new prediction.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from ddx.core.batch import Batch, BatchId, CaseDone, request_of
from ddx.core.record import Failed, Interrupted, Prediction, Request
from ddx.core.response import STATUS
from ddx.errors import DdxError, JournalUnavailable, Overloaded
from ddx.ports import BatchStore, Clock

log = logging.getLogger("ddx")
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 15.0

Predict = Callable[[Request, str], Awaitable[Prediction]]


class Batches:
    """Takes batches and works through them, a few cases at a time. Belongs to one event loop."""

    def __init__(
        self,
        *,
        store: BatchStore,
        predict: Predict,
        clock: Clock,
        start: Callable[[Coroutine[Any, Any, None]], object],
        admit: Callable[[], None] = lambda: None,
        at_once: int = 4,
        most_open: int = 16,
    ) -> None:
        """`start` runs work beside the requests; `at_once` is how many cases are asked at once,
        of all batches together, each batch in its turn.
        """
        self._store = store
        self._predict = predict
        self._clock = clock
        self._start = start
        self._admit = admit
        self._most_open = most_open
        self._slots = asyncio.Semaphore(at_once)
        self._stopping = asyncio.Event()
        self._open: dict[BatchId, Batch] = {}

    @property
    def waiting(self) -> int:
        """How many cases have not ended."""
        return sum(batch.total - len(batch.done) for batch in self._open.values())

    async def submit(self, cases: Sequence[Request], caller: str, key: str | None) -> Batch:
        """Take a batch; return once it would survive a power cut.

        With a key that was used before for the same cases, that is the earlier batch. Raises
        Overloaded, TrackerReused, and JournalUnavailable where it cannot be kept.
        """
        if self._stopping.is_set() or len(self._open) >= self._most_open:
            raise Overloaded(f"{len(self._open)} batches are under way.")
        self._admit()
        now = self._clock.now()
        batch, new = await asyncio.to_thread(self._store.take, caller, key, cases, now)
        if new:
            self._begin(batch)
        return self._open.get(batch.id, batch)

    async def find(self, id: BatchId, caller: str) -> Batch | None:
        """Return a batch of this caller as it stands."""
        batch = self._open.get(id) or await asyncio.to_thread(self._store.find, id)
        return batch if batch is not None and batch.caller == caller else None

    async def resume(self) -> None:
        """Go on with what an earlier process left. To be called before the first request."""
        for id in await asyncio.to_thread(self._store.open_ids):
            batch = await asyncio.to_thread(self._store.find, id)
            if batch is not None:
                log.info("batch goes on", extra={"batch_id": id, "pending": len(batch.pending)})
                self._begin(batch)

    def stop(self) -> None:
        """Begin no further case; those under way end as other requests do."""
        self._stopping.set()

    # --- one batch ----------------------------------------------------------------------

    def _begin(self, batch: Batch) -> None:
        self._open[batch.id] = batch
        self._start(self._run(batch))

    async def _run(self, batch: Batch) -> None:
        id = batch.id
        try:
            cases = await asyncio.to_thread(self._store.cases, id) if batch.pending else ()
        except DdxError as error:
            # Somebody took its files: nothing of ours can bring them back.
            log.error("batch is damaged", extra={"batch_id": id, "code": error.code})  # noqa: TRY400
            del self._open[id]
            return
        async with asyncio.TaskGroup() as group:
            for index in batch.pending:
                # The slots are given in the order of asking: so the batches take turns.
                await self._slots.acquire()
                group.create_task(self._one(id, index, request_of(id, index, cases[index])))
        if self._open[id].complete and await self._kept(self._store.close, id):
            log.info("batch done", extra={"batch_id": id, "cases": batch.total})
            del self._open[id]

    async def _one(self, id: BatchId, index: int, request: Request) -> None:
        try:
            done = await self._answer(index, request, self._open[id].caller)
        finally:
            self._slots.release()
        if done is not None and await self._kept(self._store.note, id, done):
            self._open[id] = self._open[id].with_done(done)

    async def _answer(self, index: int, request: Request, caller: str) -> CaseDone | None:
        """Return how a case ended; None where the server stops before that."""
        failures = 0
        while not self._stopping.is_set():
            try:
                prediction = await self._predict(request, caller)
            except (Overloaded, JournalUnavailable):
                failures += 1
                await self._pause(failures)
            except DdxError as error:
                return _refused(index, error)
            except Exception as error:
                # Its text may quote the case.
                kind = type(error).__name__
                log.exception("batch fault", exc_info=None, extra={"kind": kind})
                return _refused(index, DdxError("The server made a fault."))
            else:
                if not isinstance(prediction.outcome, Interrupted):
                    return _done(index, prediction)
                failures += 1
                await self._pause(failures)
        return None

    async def _kept(self, write: Callable[..., None], *values: object) -> bool:
        """Write until it works; False where the server stops before that."""
        failures = 0
        while True:
            try:
                await asyncio.to_thread(write, *values)
            except JournalUnavailable:
                if self._stopping.is_set():
                    return False
                failures += 1
                await self._pause(failures)
            else:
                return True

    async def _pause(self, failures: int) -> None:
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(failures - 1, 10))
        try:
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()
        except TimeoutError:
            pass


def _done(index: int, prediction: Prediction) -> CaseDone:
    outcome, completion = prediction.outcome, prediction.completion
    if outcome is None or completion is None:
        raise ValueError("predict returns complete predictions only")
    return CaseDone(
        index=index,
        status=completion.status,
        outcome=outcome.code if isinstance(outcome, Failed) else outcome.kind,
        prediction_id=prediction.id,
    )


def _refused(index: int, error: DdxError) -> CaseDone:
    return CaseDone(
        index=index,
        status=STATUS.get(error.code, 500),
        outcome=error.code,
        detail=str(error),
        advice=error.advice,
    )
