"""API keys in a file: what is kept of each, and never a secret.

One JSON document, replaced whole under a lock, mode 0600. A running server sees a change within
a second. A secret is 256 random bits and kept as scrypt's hash with a salt of its own.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from ddx.core.callers import ApiKey, Role, Secret, token
from ddx.errors import KeysUnavailable

NAME = "api_keys.json"
_VERSION = 1
_COST = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}
"""16 MiB and some 40 ms for each try."""


class ApiKeyFile:
    """The keys of an installation. Safe for threads and processes."""

    def __init__(self, data: Path) -> None:
        """Open nothing yet."""
        self.path = data / NAME

    def stamp(self) -> tuple[int, int]:
        """Return what changes with the file; (0, 0) where there is none."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return 0, 0
        return found.st_mtime_ns, found.st_ino

    def read(self) -> tuple[ApiKey, ...]:
        """Return the keys, oldest first. Raises KeysUnavailable."""
        try:
            document = json.loads(self.path.read_bytes())
            if document["version"] != _VERSION:
                raise KeysUnavailable(f"{NAME} was written by a later version of this program")
            return tuple(_key(one) for one in document["keys"])
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise KeysUnavailable(f"{NAME} cannot be read ({type(error).__name__})") from error

    def change(self, made: Callable[[Sequence[ApiKey]], Sequence[ApiKey]]) -> None:
        """Replace the keys by what `made` makes of them, on stable storage on return.

        Raises KeysUnavailable, and what `made` raises; then nothing has changed.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._alone():
                self._put(made(self.read()))
        except OSError as error:
            raise KeysUnavailable(f"{NAME} cannot be written ({type(error).__name__})") from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _put(self, keys: Sequence[ApiKey]) -> None:
        draft = self.path.with_suffix(".new")
        document = {"version": _VERSION, "keys": [_form(one) for one in keys]}
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, json.dumps(document, indent=1).encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        draft.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def new_handle() -> str:
    """Return twelve random characters."""
    return base64.b32encode(os.urandom(8))[:12].decode().lower()


def new_secret(handle: str) -> tuple[str, Secret]:
    """Return a new token, which nothing keeps, and what is kept of it."""
    given = token(handle, secrets.token_urlsafe(32))
    salt = os.urandom(16)
    return given, Secret(salt=salt.hex(), hash=_hash(given, salt).hex())


def is_secret(given: str, kept: Secret) -> bool:
    """Say whether a token is the one that this was kept of. Takes some 40 ms of CPU."""
    return hmac.compare_digest(_hash(given, bytes.fromhex(kept.salt)), bytes.fromhex(kept.hash))


NOBODY = Secret(salt="00" * 16, hash="00" * 32)
"""What a token of no key is held against: so its refusal takes as long as a wrong secret's."""


def _hash(given: str, salt: bytes) -> bytes:
    return hashlib.scrypt(given.encode(), salt=salt, **_COST)


def _form(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "roles": sorted(key.roles),
        "created_at": _text(key.created_at),
        "expires_at": _text(key.expires_at),
        "revoked_at": _text(key.revoked_at),
        "rate_per_minute": key.rate_per_minute,
        "running": key.running,
        "secrets": [
            {"salt": one.salt, "scrypt": one.hash, "until": _text(one.until)} for one in key.secrets
        ],
    }


def _key(form: dict[str, Any]) -> ApiKey:
    created_at = _time(form["created_at"])
    if created_at is None:
        raise ValueError("created_at")
    return ApiKey(
        id=form["id"],
        name=form["name"],
        roles=frozenset(Role(one) for one in form["roles"]),
        created_at=created_at,
        expires_at=_time(form["expires_at"]),
        revoked_at=_time(form["revoked_at"]),
        rate_per_minute=form["rate_per_minute"],
        running=form["running"],
        secrets=tuple(
            Secret(salt=one["salt"], hash=one["scrypt"], until=_time(one["until"]))
            for one in form["secrets"]
        ),
    )


def _text(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
