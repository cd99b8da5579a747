"""Run the HTTP server."""

from __future__ import annotations

import socket

import uvicorn

from ddx.errors import PortInUse
from ddx.settings import Settings
from ddx.web.api import create_app
from ddx.web.state import Server
from ddx.wiring.serving import set_up_logs


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C; running requests get their time to finish.

    Raises PortInUse before anything is opened.
    """
    set_up_logs(settings)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise PortInUse(
                f"{settings.host}:{settings.port} cannot be bound: {error.strerror}"
            ) from error
    uvicorn.run(
        create_app(Server(settings)),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.shutdown_grace_s),
    )
