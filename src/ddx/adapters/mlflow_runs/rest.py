"""Ask MLflow's server over its REST interface, where loading MLflow's client would cost seconds."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIMEOUT_S = 5.0


def ask(
    url: str,
    body: Mapping[str, Any] | None = None,
    *,
    method: str | None = None,
    authorization: str | None = None,
    ca: str | None = None,
    timeout_s: float = TIMEOUT_S,
) -> dict[str, Any]:
    """Return what MLflow answers: to a GET, or with a `body` to a POST.

    `ca` is a file or a folder of authorities; None: those of this machine. Raises
    urllib.error.HTTPError, OSError, ValueError.
    """
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": authorization} if authorization else {}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310  (of settings)
    context = _trusted(ca) if url.startswith("https:") else None
    with urllib.request.urlopen(request, timeout=timeout_s, context=context) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
    return found


def _trusted(ca: str | None) -> ssl.SSLContext:
    if ca is not None and Path(ca).is_dir():
        return ssl.create_default_context(capath=ca)
    return ssl.create_default_context(cafile=ca)


def basic(user: str, password: str) -> str:
    """Return what a user says of himself in the header `Authorization`."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
