"""Ask whether a server is there, and whether it is ready."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

_TIMEOUT_S = 2.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104


def reachable(host: str) -> str:
    """Return where to reach a server that listens on `host`.

    >>> reachable("0.0.0.0"), reachable("127.0.0.1")
    ('127.0.0.1', '127.0.0.1')
    """
    return _EVERYWHERE.get(host, host)


def listens(url: str) -> bool:
    """Whether something takes connections at an address; nothing is sent."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=_TIMEOUT_S):
            return True
    except OSError:
        return False


def missing(host: str, port: int, path: str) -> str | None:
    """Return None where GET `path` answers 200, else a few words on what it does."""
    connection = http.client.HTTPConnection(reachable(host), port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"it does not answer ({type(error).__name__})"
    finally:
        connection.close()
    return None if answer.status == http.client.OK else f"{path} answers {answer.status}"
