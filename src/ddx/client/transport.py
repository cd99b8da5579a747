"""The door to httpx, which is loaded by the first client: importing it takes longer than ours."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING

from ddx.client.asking import Ask
from ddx.client.retries import Reply

if TYPE_CHECKING:
    import httpx

OK = 200
STREAM_QUIET_S = 60.0
"""A server sends a comment every 15 s: a stream that is quiet for so long is broken."""


def library() -> ModuleType:
    """Return httpx. Raises ModuleNotFoundError, saying what to install."""
    try:
        import httpx
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "The client needs httpx: pip install 'ddx-server[client]'"
        ) from error
    return httpx


def with_key(headers: Mapping[str, str] | None, api_key: str | None) -> dict[str, str]:
    """Return the headers of each request."""
    key = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    return {**key, **(headers or {})}


def request_of(
    http: httpx.Client | httpx.AsyncClient, ask: Ask, *, quiet_s: float | None = None
) -> httpx.Request:
    """Return a request. `quiet_s` is how long its reply may be silent."""
    import httpx

    timeout = http.timeout
    if quiet_s is not None:
        timeout = httpx.Timeout(
            connect=timeout.connect, read=quiet_s, write=timeout.write, pool=timeout.pool
        )
    return http.build_request(
        ask.method,
        ask.path,
        params=dict(ask.query),
        headers=dict(ask.headers),
        content=ask.body,
        timeout=timeout,
    )


def reply_of(response: httpx.Response) -> Reply:
    """Return a response whose body was read."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(status=response.status_code, headers=headers, body=response.content)
