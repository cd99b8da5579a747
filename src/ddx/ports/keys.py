"""Keys over the records' keys, and signatures under checkpoints."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from ddx.core.chain import Checkpoint


class DataKey(Protocol):
    """A key that wraps others; it is itself kept wrapped under the master key."""

    @property
    def id(self) -> str:
        """16 hex digits, random."""

    def wrap(self, secret: bytes) -> bytes:
        """Return it wrapped, 8 bytes longer (rounded up to 8)."""

    def unwrap(self, wrapped: bytes) -> bytes:
        """Return what was wrapped. Raises JournalDamaged where a bit of it changed."""


class Vault(Protocol):
    """What wraps a data folder's keys before they are kept, where it has a master key.

    Any of its methods raises MasterKeyUnavailable where the key is needed and not at hand, and
    WrongMasterKey where it is another one.
    """

    def current(self) -> DataKey | None:
        """Return what new keys are wrapped under; None where they are kept plain."""

    def key(self, id: str) -> DataKey:
        """Return the data key of an id. Raises JournalDamaged where it is not kept."""

    def seal(self, name: str, secret: bytes) -> bytes:
        """Return a secret as the file `name` is to hold it: wrapped, or as it is."""

    def open(self, name: str, stored: bytes) -> bytes:
        """Return the secret in what a file holds. Raises JournalDamaged."""

    def steady(self) -> AbstractContextManager[None]:
        """Keep the folder's files in their form: nothing is wrapped or unwrapped meanwhile."""


class Signer(Protocol):
    """Signs checkpoints, so that they can be checked with the public key alone."""

    def sign(self, checkpoint: Checkpoint) -> str:
        """Return the signed checkpoint as one JSON document."""

    def read(self, document: str) -> Checkpoint:
        """Return the checkpoint in a document. Raises BadCheckpoint where the signature fails."""
