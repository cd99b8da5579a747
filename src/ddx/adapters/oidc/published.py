"""The keys that an issuer publishes, fetched. No redirect is followed, and little is read.

PyJWT's own PyJWKClient was not taken: it asks again for each token while an issuer is away, with
its lock held, knows no discovery, and reads an answer of any size.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

import jwt

from ddx.errors import IssuerUnavailable, SettingsError

ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""Who can check such a signature cannot make one. Never `none`, never HS256 and its like."""
DISCOVERY = "/.well-known/openid-configuration"
LARGEST_BYTES = 1 << 19
TIMEOUT_S = 5.0
_CHUNK_BYTES = 1 << 16
_HERE = ("127.0.0.1", "localhost", "::1")

Keys = Mapping[tuple[str, str], jwt.PyJWK]
"""By their id and algorithm."""


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the authorities of a file alone; None: the system's.

    Raises SettingsError.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (ssl.SSLError, OSError) as error:
        raise SettingsError("oidc_ca_file holds no certificates of authorities (PEM)") from error


def fetch(issuer: str, context: ssl.SSLContext) -> Keys:
    """Return the keys that an issuer signs with. Blocks. Raises IssuerUnavailable."""
    described = _get(issuer.rstrip("/") + DISCOVERY, context)
    if described.get("issuer") != issuer:
        raise _away("its configuration names another issuer than oidc_issuer does")
    where = described.get("jwks_uri")
    if not isinstance(where, str) or urlsplit(where).scheme != urlsplit(issuer).scheme:
        raise _away("its configuration names no address of keys that may be asked")
    try:
        published = jwt.PyJWKSet.from_dict(_get(where, context)).keys
    except jwt.PyJWTError as error:
        raise _away("it publishes no keys") from error
    found = {
        (one.key_id, one.algorithm_name): one
        for one in published
        if one.key_id is not None
        and one.public_key_use in ("sig", None)
        and one.algorithm_name in ALGORITHMS
    }
    if not found:
        raise _away("it publishes no keys that are taken here")
    return found


def _get(url: str, context: ssl.SSLContext) -> dict[str, Any]:
    """Return the JSON object at an address. Raises IssuerUnavailable."""
    try:
        found = json.loads(_body(url, context))
    except HTTPError as error:
        error.close()
        raise _away(f"it answers {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        kind = type(reason if isinstance(reason, Exception) else error).__name__
        raise _away(f"it does not answer ({kind})") from error
    except (ValueError, RecursionError) as error:
        raise _away("its answer is not JSON") from error
    if not isinstance(found, dict):
        raise _away("its answer is not a JSON object")
    return found


def _body(url: str, context: ssl.SSLContext) -> bytes:
    handlers: list[urllib.request.BaseHandler] = [
        _NoRedirects(),
        urllib.request.HTTPSHandler(context=context),
    ]
    if urlsplit(url).hostname in _HERE:
        # A proxy that the environment names would ask its own machine.
        handlers.append(urllib.request.ProxyHandler({}))
    asked = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310
    until_s = time.monotonic() + TIMEOUT_S
    body = b""
    with urllib.request.build_opener(*handlers).open(asked, timeout=TIMEOUT_S) as answer:
        while chunk := answer.read1(_CHUNK_BYTES):
            body += chunk
            if len(body) > LARGEST_BYTES:
                raise _away("its answer is too large")
            if time.monotonic() > until_s:
                raise TimeoutError
    return body


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,  # noqa: ARG002
        fp: IO[bytes],  # noqa: ARG002
        code: int,  # noqa: ARG002
        msg: str,  # noqa: ARG002
        headers: http.client.HTTPMessage,  # noqa: ARG002
        newurl: str,  # noqa: ARG002
    ) -> None:
        """Follow none: the answer is then an HTTPError."""
        return


def _away(why: str) -> IssuerUnavailable:
    return IssuerUnavailable(f"The keys of the tokens' issuer cannot be had: {why}.")
