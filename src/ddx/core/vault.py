"""The form of a wrapped secret in a file, and the vault of a folder that has no master key."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NoReturn

from ddx.errors import MasterKeyUnavailable

WRAPPED = b"ddx-wrapped-1\n"
"""How a wrapped secret's file begins; the data key's id, a line break and the bytes follow."""


class NoVault:
    """A Vault that wraps nothing."""

    def current(self) -> None:
        """Return None: new keys are kept plain."""

    def key(self, id: str) -> NoReturn:
        """Raise MasterKeyUnavailable: what is wrapped needs a master key."""
        raise MasterKeyUnavailable(
            f"the keys are wrapped (data key {id}), and no master key is set"
        )

    def seal(self, name: str, secret: bytes) -> bytes:  # noqa: ARG002
        """Return it as it is."""
        return secret

    def open(self, name: str, stored: bytes) -> bytes:
        """Return it as it is. Raises MasterKeyUnavailable where it is wrapped."""
        if stored.startswith(WRAPPED):
            raise MasterKeyUnavailable(f"{name} is wrapped, and no master key is set")
        return stored

    def steady(self) -> AbstractContextManager[None]:
        """Hold nothing."""
        return nullcontext()
