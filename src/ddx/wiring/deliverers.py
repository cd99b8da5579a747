"""Several deliverers on one data folder: who delivers which journal, and who does the rest."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from ddx.adapters import processes
from ddx.adapters.delivery_state import Lease, Share, chores_of
from ddx.errors import DdxError, DeliveryInUse
from ddx.ports import DeliveryState, JournalReader
from ddx.settings import Settings
from ddx.wiring.doors import Journals
from ddx.wiring.launch import ddx, environment

log = logging.getLogger("ddx")
LOOK_EACH_S = 0.25
"""How soon a dead deliverer's journals are another's."""
BUSY_S = 60.0
"""A journal that grew so recently has work, though it is delivered at this moment."""
CHORES_LOOK_S = 1.0
START_AGAIN_S = 1.0
_END_WITHIN_S = 15.0


@dataclass(slots=True)
class _Seen:
    last_seq: int
    grew_s: float


class Held:
    """The readers of the journals that are this deliverer's now. Asked between deliveries."""

    def __init__(self, journals: Journals, share: Share, state: DeliveryState) -> None:
        self._journals = journals
        self._share = share
        self._state = state
        self._seen: dict[str, _Seen] = {}
        self._looked_s = float("-inf")

    def __call__(self) -> Sequence[JournalReader]:
        """Return them; now and then look what has to be given back, and what is free."""
        readers = self._journals()
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_EACH_S:
            self._looked_s = now_s
            self._share.look({one.instance: self._has_work(one, now_s) for one in readers})
        return [one for one in readers if one.instance in self._share.held]

    def _has_work(self, journal: JournalReader, now_s: float) -> bool:
        try:
            last_seq = journal.last_seq()
        except DdxError:
            return False  # who delivers it will say so
        seen = self._seen.get(journal.instance)
        if seen is None or last_seq > seen.last_seq:
            # One that is met for the first time has not grown before our eyes.
            grew_s = float("-inf") if seen is None else now_s
            seen = self._seen[journal.instance] = _Seen(last_seq, grew_s)
        place = self._state.place(journal.journal_id)
        return last_seq > (place.cursor if place else 0) or now_s - seen.grew_s < BUSY_S


@contextmanager
def chores(
    settings: Settings, stop: threading.Event, doing: Callable[[], AbstractContextManager[None]]
) -> Iterator[None]:
    """Do what is done once for a data folder, as soon as nobody else does it.

    What goes wrong in it ends this process's delivery by `stop`, and is raised at the end.
    """
    wrong: list[BaseException] = []

    def keep() -> None:
        lease = _chores_lease(settings, stop)
        if lease is None:
            return
        try:
            with doing():
                stop.wait()
        except Exception as error:
            wrong.append(error)
            stop.set()
        finally:
            lease.release()

    thread = threading.Thread(target=keep, name="chores")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    for error in wrong:
        raise error


def _chores_lease(settings: Settings, stop: threading.Event) -> Lease | None:
    while not stop.is_set():
        try:
            return Lease(chores_of(settings.data), tries=1)
        except DeliveryInUse:
            stop.wait(CHORES_LOOK_S)
    return None


@contextmanager
def others(settings: Settings, count: int) -> Iterator[None]:
    """Run so many more deliverers beside this one; one that dies is started again."""
    if count <= 0:
        yield
        return
    stop = threading.Event()

    def start(number: int) -> processes.Process:
        return processes.Process(
            ddx("deliver", "--beside", str(os.getpid())),
            environment=environment(settings),
            folder=settings.home,
            log=settings.data / "logs" / f"deliverer-{number}.log",
            ends_by_itself=True,
        )

    def keep() -> None:
        running = {number: start(number) for number in range(2, count + 2)}
        while not stop.wait(START_AGAIN_S):
            for number, one in running.items():
                if one.ended() is not None:
                    extra = {"event": "deliverer_died", "code": one.ended()}
                    log.warning("a deliverer died and is started again", extra=extra)
                    running[number] = start(number)
        for one in running.values():
            one.terminate()
        give_up_s = time.monotonic() + _END_WITHIN_S
        for one in running.values():
            while one.ended() is None and time.monotonic() < give_up_s:
                time.sleep(0.05)
            one.kill()

    (settings.data / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)
    thread = threading.Thread(target=keep, name="others")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
