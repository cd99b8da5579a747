"""Run the HTTP server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import uvicorn

from ddx.adapters import processes
from ddx.settings import Settings
from ddx.web import tls
from ddx.web.api import create_app
from ddx.web.before import check
from ddx.web.state import LAST_WORDS_S, Server
from ddx.wiring import launch
from ddx.wiring.serving import set_up_logs


def serve(settings: Settings, *, with_deliverer: bool) -> None:
    """Serve until SIGTERM or Ctrl-C; running requests get their time to finish.

    With a deliverer beside it, which waits while another one works. Raises MissingExtra,
    BadProgram, UnsafeAddress, MasterKeyUnavailable, WrongMasterKey and PortInUse, before anything
    is opened, and what Server.start raises.
    """
    check(settings)
    server = Server(settings)
    with launch.deliverer_beside(settings, wanted=with_deliverer):
        server.start()
        try:
            http_server(server).run()
        finally:
            server.stop()


def serve_as_worker(settings: Settings, team: Sequence[str], parent: int) -> None:
    """Serve as one of several processes that share the port, until SIGTERM or `parent` ends."""
    processes.end_with(parent)
    set_up_logs(settings)
    door = processes.shared_socket(settings.host, settings.port)
    server = Server(settings, team)
    server.start()
    try:
        http_server(server).run([door])
    finally:
        server.stop()


def http_server(server: Server) -> uvicorn.Server:
    """Return what answers over HTTP, over a server's services."""
    return _Http(server.settings, server)


class _Http(uvicorn.Server):
    """Uvicorn, but a request that outlasts the grace is answered, not dropped."""

    def __init__(self, settings: Settings, server: Server) -> None:
        self._predictions, self._grace_s = server, settings.shutdown_grace_s
        self._settings = settings
        super().__init__(
            uvicorn.Config(
                create_app(server),
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(self._grace_s + LAST_WORDS_S),
                **tls.options(settings),  # type: ignore[arg-type]
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port, and follow the certificate."""
        await super().startup(sockets)
        if self.config.ssl is not None:
            self._following = asyncio.create_task(tls.follow(self.config.ssl, self._settings))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let running requests finish; then end what their engines are still asked."""
        loop = asyncio.get_running_loop()
        self._predictions.batches.stop()
        loop.call_later(self._grace_s, self._predictions.predictor.interrupt)
        await super().shutdown(sockets)
