"""An engine is asked, within its deadline; whatever goes wrong is an outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ddx.core.record import INTERRUPTION, EngineAnswer, Failed, Request
from ddx.core.registry import Model
from ddx.errors import DdxError, ModelDeadline
from ddx.ports import Engine, OnDiagnosis, StreamingEngine

log = logging.getLogger("ddx")
DEADLINE_GRACE_S = 2.0
"""What an engine may take beyond its deadline to say that it missed it."""


class Asking:
    """Asks engines, and can end what they are still asked. Belongs to one event loop."""

    def __init__(self, engine_of: Callable[[Model], Engine]) -> None:
        self._engine_of = engine_of
        self._limits: set[asyncio.Timeout] = set()
        """The deadlines of the engines that are being asked."""
        self._stopping = False

    def interrupt(self) -> None:
        """End what engines are still asked, as interrupted: the server stops."""
        self._stopping = True
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())

    async def ask(self, model: Model, request: Request, told: OnDiagnosis | None) -> EngineAnswer:
        """Ask, within the deadline and a little; whatever goes wrong is an outcome.

        `told` is given each diagnosis that is complete before the answer is, where the engine
        can do that.
        """
        try:
            async with asyncio.timeout(model.timeout_s + DEADLINE_GRACE_S) as limit:
                self._limits.add(limit)
                try:
                    engine = self._engine_of(model)
                    if told is not None and isinstance(engine, StreamingEngine):
                        return await engine.ask_streaming(request, model.timeout_s, told)
                    return await engine.ask(request, model.timeout_s)
                finally:
                    self._limits.discard(limit)
        except TimeoutError:
            if self._stopping:
                return INTERRUPTION.answer
            late = ModelDeadline(f"{model.name} did not answer within {model.timeout_s:g} s.")
            failed = Failed(code=late.code, message=str(late), advice=late.advice)
        except DdxError as error:
            failed = Failed(code=error.code, message=str(error), advice=error.advice)
        except Exception as error:
            # Its text may quote the case: only the kind of the error is told and logged.
            log.exception("engine fault", exc_info=None, extra={"kind": type(error).__name__})
            failed = Failed(
                code="model_error",
                message=f"The engine failed with {type(error).__name__}.",
                advice="Retry with the same tracker, or ask for another model.",
            )
        return EngineAnswer(outcome=failed)
