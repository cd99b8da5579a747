"""The server as replicas of Ray Serve, on one machine or many.

Each replica is a whole server: its own journal on the disk of its node, its own event loop. What
they share is MLflow's database and artifact store, and the claims of trackers (`claims_uri`, or on
one node a file). On each node a deliverer takes what the replicas there wrote.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddx.adapters import siblings, slots
from ddx.adapters.ray_cluster import proxy, replicas
from ddx.core.registry import EngineKind
from ddx.errors import Interrupted, JournalInUse, SettingsError
from ddx.settings import Settings, load
from ddx.web import problems
from ddx.web.before import check, check_parts
from ddx.wiring import launch, sharing
from ddx.wiring.cluster import Cluster
from ddx.wiring.serving import set_up_logs

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ddx.web.background import Background
    from ddx.web.state import Server

log = logging.getLogger("ddx")
_CHECK_S = 20.0
_LAST_WORDS_S = 5.0
_BESIDE = 100
"""Requests at once for what is no prediction: /readyz, pages, /metrics."""
_LOOK_S = 2.0
_KEEPER = "keeper"
_MOST_ON_A_NODE = 1000
_GONE = "The replica that was to answer is gone, or none is there now."


def serve_with_ray(settings: Settings, *, with_deliverer: bool) -> None:
    """Deploy replicas and keep them until SIGTERM or Ctrl-C; then each ends what is under way.

    Raises what `serve` raises, and ClusterUnavailable.
    """
    check(settings)
    check_settings(settings)
    # The cluster that is started here has its nodes from this process.
    os.environ.update(launch.environment(settings))
    ours = not settings.ray_address
    try:
        with Cluster(settings, prepare=partial(_set_up_proxy, settings)) as cluster:
            joined = cluster.connected()
            # Only now: Ray sets handlers of its own.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, _signalled)
            try:
                replicas.run(_application(settings, with_deliverer=with_deliverer), _at(settings))
                log.info("all replicas are ready", extra={"replicas": settings.workers})
                while True:
                    time.sleep(_LOOK_S)
                    joined.check()
            except _Signalled:
                log.info("stopping")
                replicas.end(whole=ours)
                raise
    except _Signalled as ended:
        # As a server without replicas ends: whoever sent it sees that it was obeyed.
        signal.signal(ended.number, signal.SIG_DFL)
        signal.raise_signal(ended.number)


class _Signalled(BaseException):
    """The end that somebody asked for."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _signalled(number: int, _frame: object) -> None:
    raise _Signalled(number)


def _set_up_proxy(settings: Settings, folder: Path) -> None:
    if proxy.wanted(tls=bool(settings.tls_cert_file)):
        proxy.close_in(folder, problems.text(Interrupted(_GONE)).encode())
    else:
        proxy.close_out()


def app(args: dict[str, str] | None = None) -> Any:
    """Return the application for Ray's own command: `serve run ddx.web.replicas:app`.

    Of the settings where the command runs it takes the numbers of replicas; all else is each
    node's own. `no_deliverer=1` starts no deliverer on the nodes.
    """
    settings = load()
    check_settings(settings)
    return _application(settings, with_deliverer=(args or {}).get("no_deliverer") != "1")


def check_settings(settings: Settings) -> None:
    """Refuse what replicas cannot keep. Raises SettingsError."""
    if settings.tls_client_ca_file:
        raise SettingsError(
            "tls_client_ca_file: Ray Serve's proxies ask for no certificate of a client: let a"
            " proxy in front do that, and set behind_proxy"
        )
    if settings.ray_address and not settings.claims_uri:
        raise SettingsError(
            "a cluster needs claims_uri, or a tracker would be another one on each node:"
            " docs/scale.md"
        )


def _application(settings: Settings, *, with_deliverer: bool) -> Any:
    least, most = settings.workers, max(settings.workers, settings.ray_max_replicas)
    running = sharing.shared_out(settings, least).max_running
    knows = any(
        model.engine is EngineKind.KNOWLEDGE or model.knowledge
        for model in settings.models.values()
    )
    size = replicas.Size(
        least=least,
        most=most,
        on_a_node=settings.ray_node_replicas,
        # Below what a replica takes, or there would never be more of them.
        running=min(settings.ray_running, running),
        # Beyond what it takes, so that it is the replica that refuses, and says why.
        at_once=2 * running + _BESIDE,
        engines=settings.ray_engines if knows else 0,
        grace_s=settings.shutdown_grace_s + _LAST_WORDS_S,
    )
    given = json.dumps({"replicas": least, "deliverer": with_deliverer}).encode()
    return replicas.application(open_replica, open_engine, given, size)


def _at(settings: Settings) -> replicas.Address:
    cert, key = settings.tls_cert_file, settings.tls_key_file
    return replicas.Address(
        host=settings.host,
        port=settings.port,
        every_node=bool(settings.ray_address),
        cert_file=str(settings.home / cert) if cert else "",
        key_file=str(settings.home / key) if key else "",
    )


# --- on a node --------------------------------------------------------------------------


class Replica:
    """A server, as Ray Serve holds it."""

    def __init__(self, server: Server, app: FastAPI) -> None:
        self.app, self._server = app, server

    async def check(self) -> None:
        """Raise where disk, journal and threads make no progress in time: a full disk is no reason
        to be replaced, a process that hangs is.
        """
        async with asyncio.timeout(_CHECK_S):
            await asyncio.to_thread(self._server.refresh)


def open_replica(given: bytes, ask: replicas.Ask | None) -> Replica:
    """Make the server of a replica, with the settings of this node. Raises what `serve` raises."""
    from ddx.web.api import create_app
    from ddx.web.state import Server

    os.umask(0o077)
    told = json.loads(given)
    settings = node_settings()
    check_node(settings)
    name = slots.take(settings.data / siblings.FOLDER, names(settings.instance))
    if name is None:
        raise JournalInUse(f"{_MOST_ON_A_NODE} replicas run on this node")
    settings = replace(sharing.shared_out(settings, told["replicas"]), instance=name)
    knowledge = replicas.RemoteEngine(ask) if ask is not None else None
    server = Server(settings, knowledge=knowledge, in_company=True)
    # Not with the application: Ray says why a replica was not made, but not why it did not start.
    server.start()
    app = create_app(server)
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with inner(app) as state:
            with looking_after_the_node(settings, server, with_deliverer=told["deliverer"]):
                yield state

    app.router.lifespan_context = lifespan
    app.add_middleware(Edge, background=server.background)
    return Replica(server, app)


def names(instance: str) -> Iterator[str]:
    """Yield the names of journals that the replicas of a node have, the first free one each.

    >>> from itertools import islice
    >>> list(islice(names("main"), 3))
    ['main', 'main-2', 'main-3']
    """
    yield instance
    for number in range(2, _MOST_ON_A_NODE + 1):
        yield f"{instance}-{number}"


def check_node(settings: Settings) -> None:
    """See that this node can serve. Raises what `check` raises but for its port."""
    set_up_logs(settings)
    check_parts(settings)


@contextmanager
def looking_after_the_node(
    settings: Settings, server: Server, *, with_deliverer: bool
) -> Iterator[None]:
    """See that one of the node's replicas keeps a deliverer, which closes the journals of dead
    ones, and says to the other nodes how their trackers stand.

    The others wait for its end, which the kernel tells them. A process less for each replica.
    """
    stopped = threading.Event()

    def look() -> None:
        while slots.take(settings.data / siblings.FOLDER, [_KEEPER]) is None:
            if stopped.wait(_LOOK_S):
                return
        with launch.deliverer_beside(settings, wanted=with_deliverer):
            while not stopped.wait(_LOOK_S):
                server.settle_claims()

    looking = threading.Thread(target=look, name="node", daemon=True)
    looking.start()
    try:
        yield
    finally:
        stopped.set()
        looking.join()


class Edge:
    """ASGI middleware: what differs between Ray's replica and a web server of ours.

    Ray puts the request's id on each reply, whether or not there is one; it is the id of our log,
    for Ray puts it on the request, too. And Ray cancels the request of a client that has left:
    here, as everywhere, what was begun is brought to its end, and kept.
    """

    def __init__(self, app: ASGIApp, background: Background) -> None:
        self._app, self._background = app, background

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def without(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message["headers"] if pair[0] != b"x-request-id"]
                message = {**message, "headers": kept}
            await send(message)

        if scope["type"] == "http":
            await asyncio.shield(self._background.start(self._run(scope, receive, without)))
        else:
            await self._app(scope, receive, send)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class KnowledgeReplica:
    """The knowledge engine, for the replicas of the whole deployment."""

    def __init__(self, settings: Settings) -> None:
        from ddx.wiring.knowledge import CurrentKnowledge

        self._stopped = threading.Event()
        self._knowledge = CurrentKnowledge(settings)
        self._knowledge.get()
        follow = threading.Thread(target=self._knowledge.follow, args=(self._stopped,), daemon=True)
        follow.start()

    async def ask(self, question: bytes, deadline_s: float) -> bytes:
        """Return the answer to a question."""
        return await replicas.answered(self._knowledge.ask, question, deadline_s)


def open_engine() -> KnowledgeReplica:
    """Load the knowledge of this node."""
    settings = node_settings()
    set_up_logs(settings)
    return KnowledgeReplica(settings)


def node_settings() -> Settings:
    """Return the settings of this node, with claims that are shared also by one replica."""
    settings = load()
    return replace(settings, workers=max(2, settings.workers))
