"""A server behind a real port, in a thread of this process, that can be made to fail."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from tests.web.conftest import ENVIRONMENT

from ddx import settings
from ddx.web.api import create_app
from ddx.web.state import Server


@dataclass
class Fault:
    """What becomes of one request instead of its reply."""

    status: int = 0
    """0: the connection breaks, after `bytes` of the reply."""
    code: str = "overloaded"
    headers: dict[str, str] = field(default_factory=dict)
    bytes: int = 0
    after: bool = False
    """The server does its work all the same, and its reply is lost."""
    body: str | None = None
    """Another one than the problem document."""


@dataclass
class Running:
    """A server and what it was asked."""

    url: str
    server: Server
    faults: list[Fault] = field(default_factory=list)
    """One for each next request; when they are used up all goes well."""
    asked: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def running(home: Path, **environment: str) -> Iterator[Running]:
    server = Server(settings.load({**ENVIRONMENT, **environment}, home=home))
    app = create_app(server)
    found = Running("", server)

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        found.asked.append((scope["method"], scope["path"]))
        fault = found.faults.pop(0) if found.faults else None
        if fault is None:
            await app(scope, receive, send)
        elif fault.status and not fault.after:
            await _refuse(fault, send)
        else:
            await _cut(app, fault, scope, receive, send)

    http = uvicorn.Server(uvicorn.Config(failing, port=0, log_level="critical"))
    thread = threading.Thread(target=http.run, daemon=True)
    thread.start()
    while not http.started:
        assert thread.is_alive()
        time.sleep(0.01)
    found.url = f"http://127.0.0.1:{http.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        http.should_exit = True
        thread.join(10)


async def _refuse(fault: Fault, send: Any) -> None:
    problem = {"status": fault.status, "code": fault.code, "detail": "d", "advice": "a"}
    raw = (json.dumps(problem) if fault.body is None else fault.body).encode()
    headers = [(name.lower().encode(), value.encode()) for name, value in fault.headers.items()]
    await send({"type": "http.response.start", "status": fault.status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})


async def _cut(app: Any, fault: Fault, scope: Any, receive: Any, send: Any) -> None:
    """Let the application work, send some of its reply, and break the connection."""
    left = fault.bytes
    cut = False

    async def some(message: Any) -> None:
        nonlocal left, cut
        if message["type"] == "http.response.start":
            if fault.bytes:
                await send(message)
        elif fault.bytes and not cut:
            body = message.get("body", b"")[:left]
            left -= len(body)
            cut = left <= 0
            await send({"type": "http.response.body", "body": body, "more_body": True})

    await app(scope, receive, some)
    raise ConnectionAbortedError
