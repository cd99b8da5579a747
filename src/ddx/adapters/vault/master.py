"""Master keys: what wraps the data key."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)

from ddx.errors import MasterKeyUnavailable, WrongMasterKey

KEY_BYTES = 32
_HEX = re.compile(r"[0-9a-fA-F]{64}")


class Master(Protocol):
    """What wraps a data key, here or far away. Raises MasterKeyUnavailable."""

    id: str
    """Says which one it is, and nothing of the key."""

    def wrap(self, data_key: bytes) -> str:
        """Return the data key wrapped, as text of one line."""

    def unwrap(self, wrapped: str) -> bytes:
        """Return the data key. Raises WrongMasterKey."""


class KeptMaster:
    """A master key of 32 bytes that this process is given."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.id = hmac.digest(secret, b"ddx master key id", "sha256").hex()[:16]

    def wrap(self, data_key: bytes) -> str:
        """Return it under AES-256-KWP (RFC 5649), in base64."""
        return base64.b64encode(aes_key_wrap_with_padding(self._secret, data_key)).decode()

    def unwrap(self, wrapped: str) -> bytes:
        """Return the data key. Raises WrongMasterKey."""
        try:
            stored = base64.b64decode(wrapped, validate=True)
            return aes_key_unwrap_with_padding(self._secret, stored)
        except (InvalidUnwrap, ValueError) as error:
            raise WrongMasterKey(
                f"the master key at hand ({self.id}) does not open the data key"
            ) from error


def from_file(path: Path) -> bytes:
    """Return the master key in a file that nobody else may read. Raises MasterKeyUnavailable.

    As PostgreSQL has it of its private key: of one's own file nobody else, of somebody else's
    (root's, as of a mounted secret) one's own group may read it, too.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            text = file.read(1024)
    except OSError as error:
        raise MasterKeyUnavailable(
            f"the master key's file {path} cannot be read: {error.strerror}"
        ) from None
    open_to = 0o077 if found.st_uid == os.geteuid() else 0o007
    if found.st_mode & open_to:
        mode = f"{found.st_mode & 0o777:o}"
        raise MasterKeyUnavailable(
            f"the master key's file {path} is open to others (mode {mode}): chmod 600 it"
        )
    return from_text(text.decode("ascii", "replace"), f"the file {path}")


def from_text(text: str, place: str) -> bytes:
    r"""Return the master key that a line says. Raises MasterKeyUnavailable, naming its place.

    >>> len(from_text("00" * 32, "here")), len(from_text("A" * 43 + "=\n", "here"))
    (32, 32)
    """
    line = text.strip()
    if _HEX.fullmatch(line):
        return bytes.fromhex(line)
    try:
        found = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != KEY_BYTES:
        raise MasterKeyUnavailable(
            f"{place} does not hold a master key: one line, 32 bytes as base64 or hex"
        )
    return found
