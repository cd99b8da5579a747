"""A Vault of a folder of keys."""

from __future__ import annotations

import fcntl
import hmac
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)

from ddx.adapters.vault.master import KEY_BYTES, Master
from ddx.adapters.vault.ring import NAME, Ring, Wrapped, make_ring, read_ring
from ddx.core.vault import WRAPPED
from ddx.errors import JournalDamaged, MasterKeyUnavailable, WrongMasterKey

_LOCK = "changing.lock"
_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class Key:
    """A DataKey: AES-256 with RFC 5649's key wrap."""

    id: str
    secret: bytes

    def wrap(self, secret: bytes) -> bytes:
        """Return it wrapped."""
        return aes_key_wrap_with_padding(self.secret, secret)

    def unwrap(self, wrapped: bytes) -> bytes:
        """Return what was wrapped. Raises JournalDamaged."""
        try:
            return aes_key_unwrap_with_padding(self.secret, wrapped)
        except (InvalidUnwrap, ValueError) as error:
            raise JournalDamaged("a wrapped key was changed after it was written") from error


def new_key() -> Key:
    """Return a fresh data key."""
    return Key(os.urandom(_ID_BYTES).hex(), os.urandom(KEY_BYTES))


class FileVault:
    """A Vault over the folder `ddx_data/keys`. Safe to share between threads.

    `master` returns the master key; None where none is set. It is asked once for each data key:
    what is opened stays open for as long as the vault.
    """

    def __init__(self, folder: Path, master: Callable[[], Master] | None) -> None:
        self.folder, self._master = folder, master
        self._open: dict[str, Key] = {}
        self._lock = RLock()

    def current(self) -> Key | None:
        """Return the data key for new keys; the first one of all is made here."""
        with self._lock:
            ring = read_ring(self.folder)
            if ring is None:
                if self._master is None:
                    return None
                made = new_key()
                ring = make_ring(self.folder, wrapped_by(self._master(), made.id, [made]))
            return self.key(ring.current)

    def key(self, id: str) -> Key:
        """Return the data key of an id. Raises what ports.Vault says."""
        with self._lock:
            if id not in self._open:
                self._open[id] = self._unwrapped(id)
            return self._open[id]

    def seal(self, name: str, secret: bytes) -> bytes:
        """Return a secret as a file holds it. The name is wrapped with it."""
        key = self.current()
        return sealed(key, name, secret) if key else secret

    def open(self, name: str, stored: bytes) -> bytes:
        """Return the secret in what a file holds. Raises JournalDamaged."""
        if not stored.startswith(WRAPPED):
            return stored
        id, _, wrapped = stored.removeprefix(WRAPPED).partition(b"\n")
        found, _, secret = self.key(id.decode("ascii", "replace")).unwrap(wrapped).partition(b"\n")
        if found != name.encode():
            raise JournalDamaged(f"{name} holds what belongs to another file")
        return secret

    def check(self) -> None:
        """Open every data key. Raises MasterKeyUnavailable, WrongMasterKey, JournalDamaged."""
        ring = read_ring(self.folder)
        for id in ring.data_keys if ring else ():
            self.key(id)
        if ring is None and self._master is not None:
            self._master()

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Keep the folder's files in their form meanwhile."""
        with _locked(self.folder, fcntl.LOCK_SH):
            yield

    def _unwrapped(self, id: str) -> Key:
        ring = read_ring(self.folder)
        kept = ring.data_keys.get(id) if ring else None
        if kept is None:
            raise JournalDamaged(f"{NAME} does not hold the data key {id}")
        if self._master is None:
            raise MasterKeyUnavailable(
                f"the records' keys are wrapped under master key {kept.master}, and none is set"
            )
        master = self._master()
        try:
            return Key(id, master.unwrap(kept.wrapped))
        except WrongMasterKey as error:
            if master.id == kept.master:
                raise JournalDamaged(f"{NAME} was changed after it was written") from error
            raise WrongMasterKey(
                f"the records' keys are wrapped under master key {kept.master};"
                f" the one at hand is {master.id}"
            ) from error


def sealed(key: Key | None, name: str, secret: bytes) -> bytes:
    """Return a secret as a file holds it: under this data key, or plain."""
    if key is None:
        return secret
    return WRAPPED + key.id.encode() + b"\n" + key.wrap(name.encode() + b"\n" + secret)


def wrapped_by(master: Master, current: str, keys: list[Key]) -> Ring:
    """Return data keys wrapped by a master key, each opened again before it is relied on.

    Raises MasterKeyUnavailable, WrongMasterKey.
    """
    found = {}
    for key in keys:
        kept = Wrapped(master=master.id, wrapped=master.wrap(key.secret))
        if not hmac.compare_digest(master.unwrap(kept.wrapped), key.secret):
            raise WrongMasterKey(f"master key {master.id} does not open what it has wrapped")
        found[key.id] = kept
    return Ring(current=current, data_keys=found)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Change the form of a folder's files while nobody adds, destroys or copies one."""
    with _locked(folder, fcntl.LOCK_EX):
        yield


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)
