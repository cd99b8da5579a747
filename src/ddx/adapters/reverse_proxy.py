"""Pass requests on to one other server, as they come, and its answers back."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ddx.errors import MissingExtra, TrackerUnavailable

if TYPE_CHECKING:
    import httpx

_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te"),
        *("trailer", "transfer-encoding", "upgrade", "host", "content-length"),
    }
)
"""What is of one connection alone (RFC 9110, 7.6.1), and what httpx says anew."""
_OURS = frozenset({"authorization", "cookie", "x-api-key", "origin", "referer", "forwarded"})
"""Of the caller and our own address: not the other server's business."""
_NOT_BACK = _HOP | {"server", "date", "set-cookie", "www-authenticate", "strict-transport-security"}
_TIMEOUT_S = 120.0
_KEPT_S = 2.0
"""An idle connection. Uvicorn closes one after five seconds: one used then would be cut off."""


@dataclass(frozen=True, slots=True)
class Passed:
    """An answer on its way back."""

    status: int
    headers: list[tuple[str, str]]
    body: AsyncIterator[bytes]


class ReverseProxy:
    """One other server. Belongs to one event loop; nothing else is ever asked."""

    def __init__(
        self, url: str, user: str | None = None, password: str | None = None, ca: str | None = None
    ) -> None:
        """Connect to nothing yet; `ca` is a file or folder of authorities. Raises MissingExtra."""
        try:
            import httpx
        except ModuleNotFoundError as error:
            raise MissingExtra("This path needs httpx: pip install 'ddx-server[client]'") from error
        self._httpx = httpx
        self._headers = {}
        if user and password:
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._headers["authorization"] = f"Basic {pair}"
        # No proxy and no netrc of the environment: the address is the only one.
        trusted = _trusted(ca) if ca else True
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=_TIMEOUT_S,
            trust_env=False,
            verify=trusted,
            limits=httpx.Limits(keepalive_expiry=_KEPT_S),
        )

    async def passed(
        self,
        method: str,
        path: str,
        query: bytes,
        headers: Mapping[str, str],
        body: AsyncIterator[bytes],
    ) -> Passed:
        """Ask, and return the answer, its body still to come. Raises TrackerUnavailable."""
        kept = {k: v for k, v in headers.items() if k not in _HOP | _OURS}
        has_body = "content-length" in headers or "transfer-encoding" in headers
        if has_body and "content-length" in headers:
            kept["content-length"] = headers["content-length"]
        url = self._http.base_url.copy_with(
            raw_path=path.encode() + (b"?" + query if query else b"")
        )
        request = self._httpx.Request(
            method, url, headers={**kept, **self._headers}, content=body if has_body else None
        )
        try:
            answer = await self._http.send(request, stream=True)
        except self._httpx.HTTPError as error:
            raise TrackerUnavailable(f"MLflow does not answer ({type(error).__name__})") from error
        back = [(k, v) for k, v in answer.headers.multi_items() if k not in _NOT_BACK]
        if "content-length" in answer.headers:
            back.append(("content-length", answer.headers["content-length"]))
        return Passed(answer.status_code, back, _body(answer))

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()


def _trusted(ca: str) -> ssl.SSLContext:
    """Return what trusts these authorities alone."""
    if Path(ca).is_dir():
        return ssl.create_default_context(capath=ca)
    return ssl.create_default_context(cafile=ca)


async def _body(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()
