"""The server as replicas of Ray Serve, on one machine or many.

Each replica is a whole server: its own journal on the disk of its node, its own event loop. What
they share is MLflow's database and artifact store, and the claims of trackers (`claims_uri`, or on
one node a file). On each node a deliverer takes what the replicas there wrote.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from ddx.adapters import siblings, slots
from ddx.adapters.ray_cluster import replicas
from ddx.core.registry import EngineKind
from ddx.errors import SettingsError
from ddx.settings import Settings, load
from ddx.web.before import check
from ddx.wiring import launch, sharing
from ddx.wiring.cluster import Cluster
from ddx.wiring.serving import set_up_logs

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ddx.web.state import Server

_CHECK_S = 20.0
_LAST_WORDS_S = 5.0


def serve_with_ray(settings: Settings, *, with_deliverer: bool) -> None:
    """Deploy replicas and keep them until SIGTERM or Ctrl-C; then each ends what is under way.

    Raises what `serve` raises, and ClusterUnavailable.
    """
    check(settings)
    check_settings(settings)
    # The cluster that is started here has its nodes from this process.
    os.environ.update(launch.environment(settings))
    replicas.before_start()
    stop = threading.Event()
    with Cluster(settings) as cluster:
        cluster.connected()
        replicas.run(_application(settings, with_deliverer=with_deliverer), _address(settings))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        stop.wait()
        replicas.end()


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
    knows = any(
        model.engine is EngineKind.KNOWLEDGE or model.knowledge
        for model in settings.models.values()
    )
    size = replicas.Size(
        least=least,
        most=most,
        running=settings.ray_running,
        at_once=max(1, settings.max_running // least),
        engines=settings.ray_engines if knows else 0,
        grace_s=settings.shutdown_grace_s + _LAST_WORDS_S,
    )
    given = json.dumps({"replicas": least, "deliverer": with_deliverer}).encode()
    return replicas.application(open_replica, open_engine, given, size)


def _address(settings: Settings) -> replicas.Address:
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
    """Make the server of a replica, with the settings of this node."""
    from ddx.web.api import create_app
    from ddx.web.state import Server

    os.umask(0o077)
    told = json.loads(given)
    settings = node_settings()
    set_up_logs(settings)
    later = (f"{settings.instance}-{number}" for number in count(2))
    taken = slots.take(settings.data / siblings.FOLDER, [settings.instance, *_some(later)])
    settings = replace(sharing.shared_out(settings, told["replicas"]), instance=taken)
    knowledge = replicas.RemoteEngine(ask) if ask is not None else None
    server = Server(settings, knowledge=knowledge, in_company=True)
    app = create_app(server)
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        with launch.deliverer_beside(settings, wanted=told["deliverer"]):
            async with inner(app) as state:
                yield state

    app.router.lifespan_context = lifespan
    return Replica(server, app)


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


def _some(names: Any, most: int = 999) -> list[str]:
    return [next(names) for _ in range(most)]
