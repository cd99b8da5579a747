"""What answers a case, and what runs tasks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, runtime_checkable

from ddx.core.evaluation import Asked
from ddx.core.record import (
    Code,
    Diagnosis,
    EngineAnswer,
    Request,
)


class Engine(Protocol):
    """Turns a case into an outcome."""

    async def ask(self, request: Request, deadline_s: float) -> EngineAnswer:
        """Answer within `deadline_s`. Total: a model's error is a Failed outcome.

        The answer holds the prompt, the raw output and each call, also when it failed.
        """


class AdvisedEngine(Engine, Protocol):
    """An Engine that can be shown what another one thinks."""

    async def ask(
        self, request: Request, deadline_s: float, *, candidates: str = ""
    ) -> EngineAnswer:
        """Answer as an Engine, with candidates to weigh; they may be wrong."""


OnDiagnosis = Callable[[int, Diagnosis], None]
"""Is given a rank, from 1, and the diagnosis that is complete at it. Called in the event loop."""


@runtime_checkable
class StreamingEngine(Engine, Protocol):
    """An Engine that can tell each diagnosis as soon as it is complete."""

    async def ask_streaming(
        self, request: Request, deadline_s: float, told: OnDiagnosis
    ) -> EngineAnswer:
        """Answer as `ask` does; `told` gets each diagnosis that is complete before the answer.

        What is told is provisional: a further attempt may tell another one at the same rank,
        and only the answer counts. Nothing is told after the answer.
        """


class Terminology(Protocol):
    """Grounds what an LLM says."""

    def codes(self, name: str) -> tuple[Code, ...]:
        """Return the codes of one disease, or none where the name is not surely one."""


class Asker(Protocol):
    """Answers the cases of an evaluation: an engine in this process, or a running server."""

    async def ask(self, request: Request) -> Asked:
        """Return the answer; a model's error is a Failed outcome.

        Raises ServerUnreachable where no answer can come at all, and what says that the
        request cannot be meant: UnknownModel, UnknownPrompt, ModelNotConfigured.
        """


class Workers(Protocol):
    """Processes, here or on other machines, that do pieces of work: bytes in, bytes out."""

    @property
    def slots(self) -> int:
        """How many pieces are worked on at once, as far as is known; at least 1."""

    def submit(self, piece: bytes) -> Future[bytes]:
        """Give a piece to the next free process; the future has what it made of it.

        A piece whose process or machine died is given to another, so it may be done twice. The
        future raises ClusterUnavailable where that was tried in vain.
        """
