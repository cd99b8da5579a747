"""A web application as replicas of Ray Serve, and an engine as a deployment of its own.

What is deployed is a class of this module, the names of functions, and bytes: each node runs the
program that is installed there, with its own settings and its own files.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from ddx.adapters.ray_cluster.cluster import translated
from ddx.core.codec import decode, encode
from ddx.core.record import EngineAnswer, Request
from ddx.errors import ClusterUnavailable, EngineError, MissingExtra

APPLICATION = "ddx"
_TRIES = 3
"""A question whose replica died is put to another one: it changes nothing."""

_FAILED = b"failed: "
"""What an engine says that has no answer; the name of the fault follows."""
log = logging.getLogger("ddx")

Ask = Callable[[bytes, float], Awaitable[bytes]]
"""(question, deadline in seconds) -> answer."""


class Opened(Protocol):
    """What a replica answers with."""

    app: Any
    """An ASGI application."""

    async def check(self) -> None:
        """Raise where this replica makes no progress and another should take its place."""


class Answering(Protocol):
    """What an engine's replica answers with."""

    async def ask(self, question: bytes, deadline_s: float) -> bytes:
        """Return the answer to a question."""


Open = Callable[[bytes, Ask | None], Opened]
OpenEngine = Callable[[], Answering]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many replicas there are, and when there are more."""

    least: int
    most: int
    on_a_node: int
    """The most of one node; 0: as many as fit."""
    running: int
    """Requests that one replica has under way when another is wanted."""
    at_once: int
    """Requests that one replica takes at once; beyond them they wait at the proxy."""
    engines: int
    """Replicas of the engine; 0: each web replica has its own."""
    grace_s: float
    """Time for requests under way, when a replica ends."""


class Web:
    """One replica of the web application."""

    def __init__(self, open_: Open, given: bytes, engine: Any = None) -> None:
        ask = None
        if engine is not None:

            async def ask(question: bytes, deadline_s: float) -> bytes:
                return bytes(await engine.ask.remote(question, deadline_s))

        self._opened = open_(given, ask)

    def __serve_build_asgi_app__(self) -> Any:
        return self._opened.app

    async def check_health(self) -> None:
        """Asked by Ray Serve every ten seconds."""
        await self._opened.check()


class Engine:
    """One replica of an engine, which the web replicas share."""

    def __init__(self, open_: OpenEngine) -> None:
        self._engine = open_()

    async def ask(self, question: bytes, deadline_s: float) -> bytes:
        """Return the answer to a question."""
        return await self._engine.ask(question, deadline_s)


class RemoteEngine:
    """An Engine that is another deployment; see ports.Engine."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def ask(self, request: Request, deadline_s: float) -> EngineAnswer:
        """Answer. Raises EngineError, where its replicas die under the question too."""
        answer = await self._told(encode(request).encode(), deadline_s)
        if answer.startswith(_FAILED):
            raise EngineError(f"the engine failed ({answer.removeprefix(_FAILED).decode()})")
        return decode(answer.decode(), EngineAnswer)

    async def _told(self, question: bytes, deadline_s: float) -> bytes:
        for left in reversed(range(_TRIES)):
            try:
                return await self._ask(question, deadline_s)
            except Exception as error:
                if not left:
                    # Of its words, which may quote the question, nothing is said.
                    kind = type(error).__name__
                    raise EngineError(f"the engine cannot be reached ({kind})") from None
        raise AssertionError("unreachable")


async def answered(
    ask: Callable[[Request, float], Awaitable[EngineAnswer]], question: bytes, deadline_s: float
) -> bytes:
    """Return what an engine answers to a question of RemoteEngine.

    Raises nothing: Ray would write into its logs what is raised, which could quote the case.
    """
    try:
        return encode(await ask(decode(question.decode(), Request), deadline_s)).encode()
    except Exception as error:
        log.warning("engine failed", extra={"kind": type(error).__name__})
        return _FAILED + type(error).__name__.encode()


def application(open_: Open, open_engine: OpenEngine, given: bytes, size: Size) -> Any:
    """Return the application for `serve.run`, or for Ray's own `serve run`. Raises MissingExtra."""
    serve = _library()
    engine = None
    if size.engines:
        engine = serve.deployment(
            Engine,
            name="engine",
            num_replicas=size.engines,
            max_ongoing_requests=size.at_once,
            max_constructor_retry_count=_TRIES_TO_START,
            ray_actor_options=_SHARE,
            logging_config=_QUIET,
        ).bind(open_engine)
    return serve.deployment(
        serve.ingress()(Web),
        name="web",
        max_ongoing_requests=size.at_once,
        graceful_shutdown_timeout_s=size.grace_s,
        max_constructor_retry_count=_TRIES_TO_START,
        health_check_period_s=10,
        health_check_timeout_s=30,
        ray_actor_options=_SHARE,
        logging_config=_QUIET,
        max_replicas_per_node=size.on_a_node or None,
        **_number(size),
    ).bind(open_, given, engine)


def _number(size: Size) -> dict[str, Any]:
    if size.most <= size.least:
        return {"num_replicas": size.least}
    scaling = {
        "min_replicas": size.least,
        "max_replicas": size.most,
        "target_ongoing_requests": size.running,
    }
    return {"autoscaling_config": scaling}


_SHARE = {"num_cpus": 0.1}
"""Of a processor that Ray sets aside for a replica: how many fit is for `workers` to say."""
_FAULT = re.compile(
    r"(\w+\.)*\w*(Error|Unavailable|InUse|Damaged|Extra|Key|Program|Address|Exit)\b"
)
_TRIES_TO_START = 3
_QUIET = {"enable_access_log": False, "log_level": "WARNING"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the proxies listen."""

    host: str
    port: int
    every_node: bool
    cert_file: str = ""
    key_file: str = ""


def run(app: Any, at: Address) -> None:
    """Deploy an application and return when it answers. Raises ClusterUnavailable."""
    serve = _library()
    tls = {"ssl_certfile": at.cert_file, "ssl_keyfile": at.key_file} if at.cert_file else {}
    with translated(lambda: None):
        serve.start(
            proxy_location="EveryNode" if at.every_node else "HeadOnly",
            http_options={"host": at.host, "port": at.port, **tls},
        )
    try:
        serve.run(app, name=APPLICATION, route_prefix="/", blocking=False)
    except (Exception, SystemExit) as error:
        raise ClusterUnavailable(f"the server does not start there: {_why(serve)}") from error


def _why(serve: Any) -> str:
    """Return the last line of what a replica said when it did not start."""
    with suppress(Exception):
        found = serve.status().applications[APPLICATION].deployments.values()
        lines: list[str] = [line.strip() for one in found for line in one.message.splitlines()]
        said = [line for line in lines if _FAULT.match(line)]
        return str((said or lines)[-1])
    return "Ray gives no reason"


def end(*, whole: bool) -> None:
    """Take the application down; requests under way get their time. `whole`: Ray Serve, too."""
    with translated(lambda: None):
        serve = _library()
        serve.delete(APPLICATION)
        if whole:
            serve.shutdown()


def _library() -> Any:
    try:
        from ray import serve
    except ImportError as error:
        raise MissingExtra("--engine ray needs Ray Serve: pip install 'ddx-server[ray]'") from error
    return serve
