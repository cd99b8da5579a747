"""A small issuer of OpenID Connect over TLS: publishes keys, rotates them, signs what is asked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "ddx"
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Key:
    kid: str
    algorithm: str
    private: Private

    def published(self) -> dict[str, Any]:
        """The public half as a JWK."""
        public = self.private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            form = RSAAlgorithm.to_jwk(public, as_dict=True)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            form = ECAlgorithm.to_jwk(public, as_dict=True)
        else:
            form = OKPAlgorithm.to_jwk(public, as_dict=True)
        return {**form, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def public_pem(self) -> bytes:
        public = self.private.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def a_key(kid: str, algorithm: str = "RS256") -> Key:
    if algorithm.startswith("ES"):
        return Key(kid, algorithm, ec.generate_private_key(ec.SECP256R1()))
    if algorithm == "EdDSA":
        return Key(kid, algorithm, ed25519.Ed25519PrivateKey.generate())
    return Key(kid, algorithm, rsa.generate_private_key(65537, 2048))


class Issuer(ThreadingHTTPServer):
    """Answers as `answers` says by path, else as an issuer does."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        authority = trustme.CA()
        self.ca_file = folder / "issuer-ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "issuer.test").configure_cert(context)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"https://localhost:{self.server_port}/realms/clinic"
        self.keys = [a_key("rsa-1"), a_key("ec-1", "ES256")]
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        """Path -> status, headers, body."""
        self.open = threading.Event()
        """Until it is set, every answer waits."""
        self.open.set()
        self.drips = False
        """Sends its answers byte by byte."""
        self.away = False
        """Cuts every connection."""
        self.asked: list[str] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not wait for the end of an answer is no fault of this one."""

    def rotate(self, key: Key) -> None:
        """Sign by another key from now on; the old ones are withdrawn."""
        self.keys = [key]

    def claims(self, **more: Any) -> dict[str, Any]:
        """Valid claims; name only what the test is about, None to leave one out."""
        now = int(time.time())
        known = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "c0ffee00-4711",
            "iat": now,
            "exp": now + 300,
            "tenant": "north",
            "realm_access": {"roles": ["ddx-predict", "offline_access"]},
            "name": "Mary Poppins",
        }
        return {name: value for name, value in (known | more).items() if value is not None}

    def token(self, key: Key | None = None, headers: Any = None, **more: Any) -> str:
        """A token with these claims, signed by the first key where none is named."""
        by = key or self.keys[0]
        named = {"kid": by.kid} | (headers or {})
        return jwt.encode(self.claims(**more), by.private, by.algorithm, named)

    def bearer(self, *roles: str, tenant: str | None = "north", **more: Any) -> dict[str, str]:
        """Headers that send a token with these roles."""
        named = {"roles": [f"ddx-{role}" for role in roles]}
        token = self.token(realm_access=named, tenant=tenant, **more)
        return {"Authorization": f"Bearer {token}"}


def forged(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None = None) -> str:
    """A token by hand: without a signature, or by HMAC-SHA-256 under any bytes."""
    signed = ".".join(_b64(json.dumps(part).encode()) for part in (header, claims))
    mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest() if secret is not None else b""
    return f"{signed}.{_b64(mac)}"


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class _Handler(BaseHTTPRequestHandler):
    server: Issuer

    def do_GET(self) -> None:
        issuer = self.server
        issuer.asked.append(self.path)
        if issuer.away:
            self.connection.close()
            return
        issuer.open.wait(60)
        known = {
            "/realms/clinic/.well-known/openid-configuration": {
                "issuer": issuer.url,
                "jwks_uri": f"{issuer.url}/certs",
            },
            "/realms/clinic/certs": {"keys": [one.published() for one in issuer.keys]},
        }
        usual = (200, {"Content-Type": "application/json"}, json.dumps(known[self.path]).encode())
        status, headers, body = issuer.answers.get(self.path, usual)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for part in (body[at : at + 1] for at in range(len(body))) if issuer.drips else (body,):
            time.sleep(0.02 if issuer.drips else 0)
            self.wfile.write(part)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def as_new(issuer: Issuer) -> Iterator[Issuer]:
    """Give an issuer that several tests share, and then put back what this one changed: making
    keys takes long.
    """
    before = list(issuer.keys)
    issuer.asked.clear()
    yield issuer
    issuer.keys, issuer.away, issuer.drips = before, False, False
    issuer.open.set()
    issuer.answers.clear()


@contextmanager
def an_issuer(folder: Path) -> Iterator[Issuer]:
    """Run one on a free port."""
    issuer = Issuer(folder)
    threading.Thread(target=issuer.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield issuer
    finally:
        issuer.shutdown()
        issuer.server_close()
