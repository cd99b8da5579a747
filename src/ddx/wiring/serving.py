"""The server's process: requests in, journal and engines behind them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ddx import __version__
from ddx.adapters import logs
from ddx.core.record import EngineAnswer, Prediction, Request
from ddx.core.registry import EngineKind, Model
from ddx.errors import JournalInUse, MissingExtra
from ddx.ports import AdvisedEngine, Claims, Engine, Journal, JournalReader, Terminology
from ddx.services.admission import Admission, Backlog, Limits
from ddx.services.batch import Batches
from ddx.services.fallback import FallbackEngine
from ddx.services.hybrid import HybridEngine
from ddx.services.predict import Elsewhere, Predictor, Registry
from ddx.services.records import Records
from ddx.services.recover import close_unfinished
from ddx.settings import Settings
from ddx.wiring import sharing, vaults
from ddx.wiring.doors import Journals
from ddx.wiring.knowledge import CurrentKnowledge
from ddx.wiring.privacy import masker

if TYPE_CHECKING:
    from ddx.adapters.dspy_engine import Gate


def program_of(settings: Settings, model: Model) -> Path | None:
    """Return the file of a model's compiled program, where it has one."""
    return settings.home / model.program if model.program else None


def check_programs(settings: Settings) -> None:
    """See that the compiled programs of the registry can be used. Raises BadProgram."""
    from ddx.adapters.dspy_engine import program_file

    for model in settings.models.values():
        program_file.read(program_of(settings, model))


def set_up_logs(settings: Settings) -> None:
    """Log to standard error, as JSON lines without patient text."""
    logs.set_up(settings.log_level)


def registry(settings: Settings) -> Registry:
    """Return what requests can name."""
    return Registry(
        models=settings.models,
        prompts=settings.prompts,
        has_key=lambda model: not model.needs_key or settings.api_key(model) is not None,
        bench_models=settings.bench_models,
    )


def journal(settings: Settings, life: str = "") -> Journal:
    """Open the journal of this process, for its life.

    Raises JournalInUse, JournalUnavailable, MasterKeyUnavailable, WrongMasterKey.
    """
    if settings.journal == "memory":
        from ddx.adapters.memory import MemoryJournal

        return MemoryJournal(settings.instance)
    from ddx.adapters.sqlite_journal import SqliteJournal

    return SqliteJournal(settings.data, settings.instance, vaults.vault(settings), life=life)


class EngineSource(Protocol):
    """Where a predictor finds its engines."""

    def engine_of(self, model: Model) -> Engine:
        """Return the engine that answers for a model. Raises MissingExtra."""


def predictor(
    settings: Settings,
    journal: Journal,
    engines: EngineSource,
    admit: Callable[[], None] = lambda: None,
    on_finished: Callable[[Prediction], None] = lambda done: None,  # noqa: ARG005
    claims: Claims | None = None,
    elsewhere: Elsewhere | None = None,
) -> Predictor:
    """Return the service that answers requests. Raises MissingExtra."""
    from ddx.adapters.system import SystemClock, luck

    return Predictor(
        journal=journal,
        registry=registry(settings),
        engine_of=engines.engine_of,
        clock=SystemClock(),
        luck=luck,
        version=__version__,
        admit=admit,
        on_finished=on_finished,
        mask=masker(settings),
        max_running=settings.max_running,
        claims=claims,
        elsewhere=elsewhere,
    )


def batches(
    settings: Settings,
    predictor: Predictor,
    start: Callable[[Coroutine[Any, Any, None]], object],
    admit: Callable[[], None],
) -> Batches:
    """Return the service that works through batches; `start` runs work beside the requests."""
    from ddx.adapters.batch_files import BatchFiles
    from ddx.adapters.system import SystemClock

    return Batches(
        store=BatchFiles(settings.data, settings.instance, vaults.vault(settings)),
        predict=predictor.predict,
        clock=SystemClock(),
        start=start,
        admit=admit,
        at_once=settings.batch_running,
        most_open=settings.max_batches,
    )


def admission(settings: Settings, journals: Callable[[], Iterable[JournalReader]]) -> Admission:
    """Return what decides whether a request may be taken. `journals`: those of the data folder."""
    from ddx.adapters.system import free_bytes

    limits = Limits(
        disk_reserve_bytes=int(settings.disk_reserve_mb * 2**20),
        backlog_bytes=int(settings.max_backlog_mb * 2**20),
        backlog_age_s=settings.max_backlog_age_s,
    )
    from ddx.wiring.delivering import backlog

    if settings.journal == "memory":
        return Admission(limits, partial(free_bytes, settings.home), Backlog)
    return Admission(
        limits, partial(free_bytes, settings.data), partial(backlog, settings, journals)
    )


_COMMANDS = 20
"""As many `ddx predict` as may run at once on one data folder."""


class Engines:
    """The engines of the registry, each made when it is first needed."""

    def __init__(self, settings: Settings, knowledge: Engine | None = None) -> None:
        """`knowledge` is asked where the knowledge engine is; this process then loads its own only
        for what grounds an LLM's names.
        """
        self._settings = settings
        self._made: dict[str, Engine] = {}
        self._gates: dict[str, Gate] = {}
        self._knowledge = CurrentKnowledge(settings)
        self._remote = knowledge

    def engine_of(self, model: Model) -> Engine:
        """Return the engine that answers for a model. Raises MissingExtra."""
        if model.name not in self._made:
            self._made[model.name] = self._make(model)
        return self._made[model.name]

    def terminology(self) -> Terminology:
        """Return what grounds names, loaded by its first question."""
        return self._knowledge

    def warm(self) -> None:
        """Load the default model's engine, which can take seconds. For a thread."""
        default = self._settings.models[self._settings.default_model]
        engine = self.engine_of(default)
        local = default.engine is EngineKind.KNOWLEDGE and self._remote is None
        if local or default.engine is EngineKind.DSPY:
            base = self._knowledge.get()
            if default.engine is EngineKind.DSPY:
                _ = base.grounding
        warm = getattr(engine, "warm", None)
        if warm is not None:
            warm()

    def knowledge_digest(self) -> str:
        """Return the digest of the knowledge in force, loaded now where it is not yet."""
        return self._knowledge.get().engine.index.digest

    def follow(self, stopped: threading.Event) -> None:
        """Take up knowledge that is added, until `stopped`. For a thread."""
        self._knowledge.follow(stopped)

    def _make(self, model: Model) -> Engine:
        first = self._alone(model)
        if model.fallback is None:
            return first
        second = self._settings.models[model.fallback]
        return FallbackEngine(first, self.engine_of(second), second.name)

    def _alone(self, model: Model) -> Engine:
        match model.engine:
            case EngineKind.KNOWLEDGE:
                return self._knowing()
            case EngineKind.INSTANT:
                from ddx.adapters.instant_engine import InstantEngine

                return InstantEngine(model.cpu_ms, model.wait_ms)
            case EngineKind.DSPY if model.knowledge:
                return HybridEngine(self._dspy(model), self._knowing())
            case EngineKind.DSPY:
                return self._dspy(model)

    def _knowing(self) -> Engine:
        return self._remote or LazyEngine(self._knowledge)

    def _dspy(self, model: Model) -> AdvisedEngine:
        try:
            from ddx.adapters.dspy_engine import DspyEngine
        except ModuleNotFoundError as error:
            raise MissingExtra("LLMs need DSPy: pip install 'ddx-server[llm]'") from error
        return DspyEngine(
            model=model,
            prompts=self._settings.prompts,
            terminology=self._knowledge,
            api_key=self._settings.api_key(model),
            prices=self._settings.prices,
            gate=self._gate(model),
            threads=self._settings.engine_threads,
            program=program_of(self._settings, model),
        )

    def _gate(self, model: Model) -> Gate:
        """Return the gate of a model's endpoint; the first model that says a number sets it."""
        from ddx.adapters.dspy_engine import Gate

        if model.endpoint not in self._gates:
            numbers = (
                one.max_concurrency
                for one in self._settings.models.values()
                if one.endpoint == model.endpoint and one.max_concurrency
            )
            self._gates[model.endpoint] = Gate(at_once=min(numbers, default=None))
        return self._gates[model.endpoint]


class LazyEngine:
    """An Engine that is loaded by its first question."""

    def __init__(self, engine: CurrentKnowledge) -> None:
        self._engine = engine

    def warm(self) -> None:
        """Load it now."""
        self._engine.get()

    async def ask(self, request: Request, deadline_s: float) -> EngineAnswer:
        """Answer, once loaded."""
        if not self._engine.ready:
            await asyncio.to_thread(self._engine.get)
        return await self._engine.ask(request, deadline_s)


def predict(settings: Settings, request: Request) -> Prediction:
    """Answer one request in this process, kept like any other. For the command line."""
    return asyncio.run(_predict_once(settings, request))


def own_journal(settings: Settings, life: str = "") -> Journal:
    """Open a journal for one command: a server holds its own for as long as it runs.

    The few names are used again and again, so that commands leave no heap of files behind.
    Raises JournalInUse where so many commands run at once.
    """
    for number in range(1, _COMMANDS + 1):
        instance = f"{settings.instance}-cli-{number}"
        try:
            return journal(replace(settings, instance=instance), life)
        except JournalInUse:
            if number == _COMMANDS:
                raise
    raise AssertionError("unreachable")


async def _predict_once(settings: Settings, request: Request) -> Prediction:
    with commanded(settings) as service:
        return await service.predict(request, "command line")


@contextmanager
def commanded(settings: Settings, engines: EngineSource | None = None) -> Iterator[Predictor]:
    """Give the service to a command, with a journal of its own, and engines of its own or others.

    Raises as `own_journal`.
    """
    with ExitStack() as opened:
        life = sharing.new_life()
        kept = opened.enter_context(closing(own_journal(settings, life)))
        close_unfinished(kept)
        claims = sharing.claims(settings, kept.instance, life)
        elsewhere = None
        if claims is not None:
            opened.enter_context(closing(claims))
            records = Records(kept, opened.enter_context(closing(Journals(settings))))
            elsewhere = sharing.elsewhere(
                sharing.Siblings(settings.data, records, vaults.vault(settings)), claims
            )
        source = engines or Engines(settings)
        yield predictor(settings, kept, source, claims=claims, elsewhere=elsewhere)
