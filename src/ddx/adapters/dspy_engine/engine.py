"""The engine: a port's promise kept by threads, a deadline, and a DSPy program."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from random import SystemRandom
from typing import Any

from ddx.adapters.dspy_engine import library, program_file
from ddx.adapters.dspy_engine.attempts import Attempts, Question
from ddx.adapters.dspy_engine.gate import Gate
from ddx.adapters.dspy_engine.prices import price_of
from ddx.adapters.dspy_engine.task import Task
from ddx.adapters.dspy_engine.threads import Threads
from ddx.core.prices import Price
from ddx.core.record import Code, EngineAnswer, Request
from ddx.core.registry import Model, PromptConfig
from ddx.errors import MissingExtra, SettingsError, UnknownPrompt
from ddx.ports import Terminology

_RANDOM = SystemRandom()
_GRACE_S = 0.5
"""What the thread gets beyond the deadline to say itself that it missed it."""


class DspyEngine:
    """An Engine for one LLM of the registry.

    Calls run in threads: DSPy in threads makes 206 to 260 calls a second, its `acall` 150 to
    190, and each call costs milliseconds of CPU that would stop the event loop. `threads` is
    how many calls are under way at once; more wait, and their deadlines run meanwhile.
    """

    def __init__(
        self,
        *,
        model: Model,
        prompts: Mapping[int, PromptConfig],
        terminology: Terminology | None = None,
        api_key: str | None = None,
        prices: Mapping[str, Price] | None = None,
        threads: int = 32,
        gate: Gate | None = None,
        program: Path | None = None,
        luck: Callable[[], float] = _RANDOM.random,
    ) -> None:
        """Prepare; nothing is loaded yet. `program` is a file that `ddx optimize` made.

        Raises MissingExtra, SettingsError and BadProgram.
        """
        if find_spec("dspy") is None:
            raise MissingExtra("LLMs need DSPy: pip install 'ddx-server[llm]'")
        if not model.llm:
            raise SettingsError(f'model {model.name!r} needs llm = "provider/model"')
        self._model = model
        self._llm = model.llm
        self._prompts = prompts
        self._terminology = terminology
        self._api_key = api_key
        self._price = price_of(model, prices or {})
        self._connections = threads
        self._threads = Threads(threads, f"ddx-{model.name}")
        self._gate = gate or Gate(at_once=model.max_concurrency)
        self._luck = luck
        self._refused: set[str] = set()
        self._lock = threading.Lock()
        self._compiled = program_file.read(program)
        self._program: Any = None

    def warm(self) -> None:
        """Load DSPy and the program, which takes about 2 s. For a thread in the background.

        Raises what is wrong with the model's settings.
        """
        library.load()
        self._get_program()

    async def ask(
        self, request: Request, deadline_s: float, *, candidates: str = ""
    ) -> EngineAnswer:
        """Answer within `deadline_s`. Total: a model's error is a Failed outcome.

        `candidates`: what another engine suggests, shown beside the case.
        A call that is under way when the deadline passes or the caller leaves is not waited for.
        """
        deadline = time.monotonic() + deadline_s
        attempts = Attempts(self._question(request, candidates, deadline, deadline_s))
        future = self._threads.submit(lambda: self._run(attempts, request))
        try:
            async with asyncio.timeout(deadline_s + _GRACE_S):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            return attempts.late()
        finally:
            attempts.abandon()

    # --- in a thread --------------------------------------------------------------------

    def _run(self, attempts: Attempts, request: Request) -> EngineAnswer:
        try:
            program = self._get_program()
            return attempts.run(program, program.digest(self._text(self._prompt(request))))
        except Exception as error:
            # Its text may quote the case: only its class is told.
            return attempts.failed(type(error).__name__)

    def _get_program(self) -> Any:
        loaded = library.load()
        with self._lock:
            if self._program is None:
                wire = loaded.wire.Wire(
                    llm=self._llm,
                    api_base=self._model.api_base,
                    api_key=self._api_key,
                    connections=self._connections,
                )
                self._program = loaded.program.Program(
                    wire=wire,
                    llm=self._llm,
                    compiled=self._compiled,
                    bounded=self._model.api_base is not None,
                )
            return self._program

    # --- one question -------------------------------------------------------------------

    def _question(
        self, request: Request, candidates: str, deadline: float, deadline_s: float
    ) -> Question:
        prompt = self._prompt(request)
        return Question(
            model=self._model,
            task=Task(
                text=self._text(prompt),
                case=request.case,
                findings=request.findings,
                top=request.top_differential,
                candidates=candidates,
            ),
            parameters=self._parameters(request),
            prompt_index=prompt.index,
            prompt_digest=prompt.digest,
            deadline=deadline,
            deadline_s=deadline_s,
            codes=self._codes,
            price=self._price,
            luck=self._luck,
            refused=self._refused,
            gate=self._gate,
        )

    def _text(self, prompt: PromptConfig) -> str:
        """Return the instructions: the configuration's, or those compiled in their place."""
        return self._compiled.text(prompt.text, prompt.digest)

    def _prompt(self, request: Request) -> PromptConfig:
        """Return the prompt configuration: the request's, else the model's, else the first.

        Raises UnknownPrompt.
        """
        index = self._model.prompt if request.prompt_version is None else request.prompt_version
        if index is None:
            index = min(self._prompts)
        if index not in self._prompts:
            raise UnknownPrompt(f"There is no prompt configuration {index}.")
        return self._prompts[index]

    def _parameters(self, request: Request) -> dict[str, Any]:
        """Return the parameters asked for: the request's, else the model's."""
        model = self._model
        asked = {
            "temperature": _first(request.temperature, model.temperature),
            "max_tokens": _first(request.max_tokens, model.max_tokens),
            "top_k": _first(request.top_k, model.top_k),
        }
        given = {name: value for name, value in asked.items() if value is not None}
        return {**given, "response_format": "json_schema"}

    def _codes(self, name: str) -> tuple[Code, ...]:
        return self._terminology.codes(name) if self._terminology else ()


def _first(asked: float | None, default: float | None) -> float | None:
    return default if asked is None else asked
