"""Results of another thread, awaited in the event loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import pytest

from ddx.services.predict.handover import Handover


def in_a_thread(futures: list[Future[int]]) -> threading.Thread:
    """Finish the futures in another thread, in order, each with its number."""

    def work() -> None:
        for number, future in enumerate(futures):
            future.set_result(number)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_every_result_reaches_who_waits_for_it() -> None:
    async def main() -> list[int]:
        handover = Handover()
        found: list[int] = []
        for _ in range(20):
            futures: list[Future[int]] = [Future() for _ in range(100)]
            waiting = asyncio.gather(*map(handover, futures))
            await asyncio.sleep(0)
            in_a_thread(futures)
            found += await asyncio.wait_for(waiting, 10)
        return found

    assert asyncio.run(main()) == list(range(100)) * 20


def test_an_error_reaches_who_waits_and_a_result_that_is_there_needs_no_wait() -> None:
    async def main() -> None:
        handover = Handover()
        broken: Future[int] = Future()
        broken.set_exception(KeyError("x"))
        with pytest.raises(KeyError):
            await asyncio.wait_for(handover(broken), 10)

    asyncio.run(main())


def test_who_no_longer_waits_does_not_hold_up_the_others() -> None:
    async def main() -> int:
        handover = Handover()
        futures: list[Future[int]] = [Future(), Future()]
        gone, stays = (asyncio.ensure_future(handover(future)) for future in futures)
        await asyncio.sleep(0)
        gone.cancel()
        in_a_thread(futures).join()
        return await asyncio.wait_for(stays, 10)

    assert asyncio.run(main()) == 1
