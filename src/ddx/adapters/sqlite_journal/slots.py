"""The two forms of a key file: slots as they are, or each wrapped under a data key."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from ddx.errors import JournalDamaged
from ddx.ports import DataKey, Vault

KEY_BYTES = 32
HEADER_BYTES = 64
_PLAIN = b"ddx-keys-1\n"
_WRAPPED = b"ddx-keys-2\n"
_ID_DIGITS = 16
_FILE_BYTES = 16


class Slots(Protocol):
    """How one key file keeps its keys. A slot of zeros is a destroyed key in each form."""

    @property
    def slot_bytes(self) -> int:
        """Divides a disk's sector, and so a slot is written whole or not at all."""

    @property
    def data_key(self) -> str | None:
        """Id of what they are wrapped under; None where they are plain."""

    @property
    def header(self) -> bytes:
        """The first 64 bytes of the file."""

    def check(self) -> None:
        """See that keys can be read. Raises what ports.Vault says."""

    def put(self, number: int, key: bytes) -> bytes:
        """Return a key as its slot holds it."""

    def take(self, number: int, slot: bytes) -> bytes:
        """Return the key in a slot. Raises JournalDamaged."""


class PlainSlots:
    """Keys as they are."""

    slot_bytes = KEY_BYTES
    data_key = None
    header = _PLAIN.ljust(HEADER_BYTES, b"\0")

    def check(self) -> None:
        """Nothing is needed."""

    def put(self, number: int, key: bytes) -> bytes:  # noqa: ARG002
        """Return it as it is."""
        return key

    def take(self, number: int, slot: bytes) -> bytes:  # noqa: ARG002
        """Return it as it is."""
        return slot


@dataclass
class WrappedSlots:
    """Keys under a data key, each bound to its file and its number."""

    vault: Vault
    data_key: str
    file: bytes
    """16 random bytes."""
    slot_bytes = 64

    @property
    def header(self) -> bytes:
        """Magic, the data key's id, a line break, the file's own bytes."""
        said = _WRAPPED + self.data_key.encode() + b"\n" + self.file
        return said.ljust(HEADER_BYTES, b"\0")

    def check(self) -> None:
        """Have the data key opened."""
        _ = self._key

    def put(self, number: int, key: bytes) -> bytes:
        """Return a key wrapped, with its place."""
        return self._key.wrap(key + self._place(number))

    def take(self, number: int, slot: bytes) -> bytes:
        """Return the key in a slot. Raises JournalDamaged."""
        found = self._key.unwrap(slot)
        if found[KEY_BYTES:] != self._place(number):
            raise JournalDamaged(f"key {number} was moved from another place")
        return found[:KEY_BYTES]

    def _place(self, number: int) -> bytes:
        return number.to_bytes(8, "big") + self.file

    @cached_property
    def _key(self) -> DataKey:
        return self.vault.key(self.data_key)


def new_slots(key: DataKey | None, vault: Vault) -> Slots:
    """Return the form of a new file: under a data key, or plain."""
    if key is None:
        return PlainSlots()
    return WrappedSlots(vault, key.id, os.urandom(_FILE_BYTES))


def slots_of(header: bytes, vault: Vault) -> Slots | None:
    """Return the form that a file's header says; None where it is no key file's."""
    if header.startswith(_PLAIN):
        return PlainSlots()
    if not header.startswith(_WRAPPED) or len(header) != HEADER_BYTES:
        return None
    rest = header.removeprefix(_WRAPPED)
    id = rest[:_ID_DIGITS].decode("ascii", "replace")
    return WrappedSlots(vault, id, rest[_ID_DIGITS + 1 :][:_FILE_BYTES])
