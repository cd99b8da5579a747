"""Ask whether a server is there, and whether it is ready."""

from __future__ import annotations

import http.client
import socket
import ssl
from urllib.parse import urlsplit

_TIMEOUT_S = 2.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104


def reachable(host: str) -> str:
    """Return where to reach a server that listens on `host`.

    >>> reachable("0.0.0.0"), reachable("127.0.0.1")
    ('127.0.0.1', '127.0.0.1')
    """
    return _EVERYWHERE.get(host, host)


def is_everywhere(host: str) -> bool:
    """Whether who listens on a host does so on all addresses of the machine."""
    return host in _EVERYWHERE


def listens(url: str) -> bool:
    """Whether something takes connections at an address; nothing is sent."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=_TIMEOUT_S):
            return True
    except OSError:
        return False


def missing(host: str, port: int, path: str, *, tls: bool = False) -> str | None:
    """Return None where GET `path` answers 200, else a few words on what it does.

    With `tls` whoever answers will do: the certificate is of the name that others ask for.
    """
    try:
        found = _status(host, port, path, tls=tls)
    except (OSError, http.client.HTTPException) as error:
        return f"it does not answer ({type(error).__name__})"
    return None if found == http.client.OK else f"{path} answers {found}"


def status(host: str, port: int, path: str, *, tls: bool = False) -> int | None:
    """Return what GET `path` answers, None where nothing does; `tls` as for `missing`."""
    try:
        return _status(host, port, path, tls=tls)
    except (OSError, http.client.HTTPException):
        return None


def _status(host: str, port: int, path: str, *, tls: bool) -> int:
    connection: http.client.HTTPConnection
    if tls:
        anyone = ssl.create_default_context()
        anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            reachable(host), port, timeout=_TIMEOUT_S, context=anyone
        )
    else:
        connection = http.client.HTTPConnection(reachable(host), port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()
