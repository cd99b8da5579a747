"""What a worker process does: pieces of work, named here, run on any node of a cluster.

Each function takes (setup, piece) and returns bytes, and raises nothing: a traceback could quote
a case, and would go where no log of ours is.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ddx import __version__
from ddx.adapters import logs
from ddx.adapters.system import SystemClock
from ddx.core import codec
from ddx.core.evaluation import Asked
from ddx.core.masking import Mask
from ddx.core.pieces import lines_of, piece, refusal
from ddx.core.record import Answered, Declined, Diagnosis, Failed, Outcome, Request
from ddx.core.registry import EngineKind
from ddx.errors import DdxError, NodeRefused
from ddx.services.evaluate import EngineAsker
from ddx.services.predict.asking import Asking
from ddx.settings import Settings
from ddx.settings.carried import carried, carry, equal_setup
from ddx.wiring.privacy import masker
from ddx.wiring.serving import Engines, program_of, registry


def setup_of(settings: Settings, engines: Engines, model: str, at_once: int = 1) -> bytes:
    """Return what a worker needs to answer for a model, as data.

    `at_once` is how many cases of a piece are asked at a time. The digest of the knowledge here
    goes along: a node that knows something else would answer otherwise, and refuses.
    """
    files = {
        name: program_of(settings, one)
        for name, one in settings.models.items()
        if one.program and name in (model, settings.models[model].fallback)
    }
    knows = settings.models[model].engine is not EngineKind.INSTANT
    return equal_setup(
        {
            "version": __version__,
            "model": model,
            "at_once": at_once,
            "knowledge": engines.knowledge_digest() if knows else None,
            "programs": {name: path.read_text("utf-8") for name, path in files.items() if path},
            "settings": carry(settings),
        }
    )


def asked(setup: bytes, piece: bytes) -> bytes:
    """Answer requests for an evaluation: an Asked each, with the names and codes of its list."""
    return _done(setup, piece, _asked)


def answered(setup: bytes, piece: bytes) -> bytes:
    """Answer requests whole: an EngineAnswer each."""
    return _done(setup, piece, _answered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The engines of this process."""

    settings: Settings
    engines: Engines
    asking: Asking
    mask: Mask | None
    at_once: int


_made: dict[bytes, Made] = {}
"""Of the last setup: loading the knowledge takes longer than most pieces."""
_loops: list[asyncio.Runner] = []
"""The one event loop of this process: engines belong to theirs."""


def _done(setup: bytes, lines: bytes, answer: Callable[[Made, Request], Awaitable[str]]) -> bytes:
    try:
        made = _of(setup)
        requests = [codec.decode(line, Request) for line in lines_of(lines)]
        for request in requests:
            if refused := registry(made.settings).refusal(request):
                return refusal(str(refused))
        if not _loops:
            _loops.append(asyncio.Runner())
        return piece(_loops[0].run(_each(made, requests, answer)))
    except DdxError as error:
        return refusal(str(error))
    except Exception as error:
        # Its text may quote a case.
        return refusal(f"a node failed with {type(error).__name__}")


async def _each(
    made: Made, requests: list[Request], answer: Callable[[Made, Request], Awaitable[str]]
) -> list[str]:
    free = asyncio.Semaphore(made.at_once)

    async def one(request: Request) -> str:
        async with free:
            return await answer(made, request)

    return list(await asyncio.gather(*map(one, requests)))


async def _asked(made: Made, request: Request) -> str:
    model = made.settings.models[request.model_name]
    asker = EngineAsker(made.engines.engine_of(model), model, SystemClock(), made.mask)
    return codec.encode(_short(await asker.ask(request)))


async def _answered(made: Made, request: Request) -> str:
    # Who asks has masked the case, and keeps what comes.
    model = made.settings.models[request.model_name]
    return codec.encode(await made.asking.ask(model, request, None))


def _short(asked: Asked) -> Asked:
    """Leave out what the row of an evaluation does not keep: all texts."""
    return replace(asked, outcome=_bare(asked.outcome))


def _bare(outcome: Outcome) -> Outcome:
    match outcome:
        case Answered(diagnoses=diagnoses):
            return Answered(
                diagnoses=tuple(
                    Diagnosis(
                        name=one.name,
                        likelihood=one.likelihood,
                        probability=one.probability,
                        codes=one.codes,
                    )
                    for one in diagnoses
                )
            )
        case Declined():
            return Declined(reason="")
        case Failed(code=code):
            return Failed(code=code, message="")
        case _:
            return outcome


# --- once in each process ---------------------------------------------------------------


def _of(setup: bytes) -> Made:
    """Return the engines that a setup says, made at its first piece."""
    if setup not in _made:
        os.umask(0o077)
        logs.set_up("error")
        _made.clear()
        _made[setup] = _make(json.loads(setup))
    return _made[setup]


def _make(values: dict[str, Any]) -> Made:
    if values["version"] != __version__:
        raise NodeRefused(f"a node has ddx {__version__}, the sender {values['version']}")
    # The examples of a compiled program are cases: its file is gone once it is read.
    with tempfile.TemporaryDirectory(prefix="ddx-") as folder:
        settings = _with_programs(carried(values["settings"]), values["programs"], Path(folder))
        engines = Engines(settings)
        if values["knowledge"] not in (None, engines.knowledge_digest()):
            raise NodeRefused("a node has other knowledge than the sender: see `ddx knowledge`")
        engine = engines.engine_of(settings.models[values["model"]])
    # Loaded now: the first case's time is its own.
    warm = getattr(engine, "warm", None)
    if warm is not None:
        warm()
    return Made(
        settings=settings,
        engines=engines,
        asking=Asking(engines.engine_of),
        mask=masker(settings),
        at_once=values["at_once"],
    )


def _with_programs(settings: Settings, programs: Mapping[str, str], folder: Path) -> Settings:
    """Write the compiled programs that came along, for the models that name one."""
    models = dict(settings.models)
    for number, (name, text) in enumerate(programs.items()):
        path = folder / f"{number}.json"
        path.write_text(text, encoding="utf-8")
        models[name] = replace(models[name], program=str(path))
    return replace(settings, models=models)
