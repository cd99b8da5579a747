"""Batches as folders of files: what waits is encrypted, and destroyed once all is answered.

`batches/<instance>/<id>/` holds `batch.json` (no patient text), `cases.sealed` (AES-256-GCM,
until the batch is closed) and `done.ndjson`. The key of a batch is in `keys/batches/`, apart
from it, as the journal's are. One writer for each instance: the server that took the batch.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from errno import EDQUOT, EEXIST, ENOSPC, ENOTEMPTY
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ddx.core.batch import Batch, BatchId, CaseDone, done_line, read_done
from ddx.core.codec import decode, encode
from ddx.core.record import Request
from ddx.core.vault import NoVault
from ddx.errors import JournalDamaged, JournalFull, JournalUnavailable, TrackerReused
from ddx.ports import Vault

_KEY_BYTES = 32
_NONCE_BYTES = 12
_ID = re.compile(r"[0-9a-f]{32}")


class BatchFiles:
    """A BatchStore. Nothing is made before the first batch."""

    def __init__(self, data: Path, instance: str, vault: Vault | None = None) -> None:
        self._all, self._vault = data / "batches", vault or NoVault()
        self._folder = self._all / instance
        self._keys = data / "keys" / "batches"

    def take(
        self, caller: str, key: str | None, cases: Sequence[Request], now: datetime
    ) -> tuple[Batch, bool]:
        """Keep a batch; see ports.BatchStore."""
        text = "\n".join(encode(case) for case in cases)
        with _translated():
            self._make_folders()
            secret = self._secret()
            id = BatchId(_named(secret, caller, key) if key else os.urandom(16).hex())
            digest = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
            batch = Batch(id=id, created_at=now, caller=caller, total=len(cases))
            with self._one_at_a_time() if key else nullcontext():
                # Another process of this data folder may have taken it.
                taken = self._holder(id) is None and self._put(batch, digest, text)
        if taken:
            return batch, True
        found = self.find(id)
        if found is None or not hmac.compare_digest(self._meta(id)["digest"], digest):
            raise TrackerReused
        return found, False

    def find(self, id: BatchId) -> Batch | None:
        """Return a batch as it stands, whichever process of the data folder took it."""
        if not _ID.fullmatch(id) or self._holder(id) is None:
            return None
        meta = self._meta(id)
        lines = self._path(id, "done.ndjson").read_text(encoding="utf-8").splitlines()
        return Batch(
            id=id,
            created_at=datetime.fromisoformat(meta["created_at"]),
            caller=meta["caller"],
            total=meta["total"],
            done=read_done(lines),
        )

    def open_ids(self) -> Sequence[BatchId]:
        """Return the batches that are not closed, oldest first; for the one writer.

        What a process that died had begun to take, and nobody was told of, is removed.
        """
        for draft in self._folder.glob(".*.key"):
            shutil.rmtree(draft, ignore_errors=True)
            (self._keys / draft.name.removeprefix(".")).unlink(missing_ok=True)
        found = [BatchId(path.parent.name) for path in self._folder.glob("*/cases.sealed")]
        return sorted(found, key=self._created_at)

    def cases(self, id: BatchId) -> Sequence[Request]:
        """Return the cases of a batch that is not closed. Raises JournalDamaged."""
        try:
            name = self._meta(id)["key"]
            key = self._vault.open(name, (self._keys / name).read_bytes())
            sealed = self._path(id, "cases.sealed").read_bytes()
            nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
            text = AESGCM(key).decrypt(nonce, ciphertext, id.encode()).decode()
        except (OSError, InvalidTag, ValueError) as error:
            raise JournalDamaged(f"the waiting cases of batch {id} cannot be read") from error
        # Not splitlines: a case may hold other line breaks than this one.
        return [decode(line, Request) for line in text.split("\n")]

    def note(self, id: BatchId, done: CaseDone) -> None:
        """Keep how a case ended; see ports.BatchStore."""
        with _translated():
            file = os.open(self._path(id, "done.ndjson"), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                # The break comes first, so that a line left half written spoils no other.
                os.write(file, f"\n{done_line(done)}".encode())
            finally:
                os.close(file)

    def close(self, id: BatchId) -> None:
        """Destroy the cases; see ports.BatchStore."""
        with _translated():
            _sync(self._path(id, "done.ndjson"))
            key = self._keys / self._meta(id)["key"]
            with suppress(FileNotFoundError):
                _write(key, bytes(key.stat().st_size))
                key.unlink()
                _sync(self._keys)
            self._path(id, "cases.sealed").unlink(missing_ok=True)

    # --- files --------------------------------------------------------------------------

    def _put(self, batch: Batch, digest: str, text: str) -> bool:
        """Write a batch's files and give them their name; False where that name is taken."""
        name = f"{os.urandom(16).hex()}.key"
        key, nonce = os.urandom(_KEY_BYTES), os.urandom(_NONCE_BYTES)
        meta = {
            "created_at": batch.created_at.isoformat(),
            "caller": batch.caller,
            "total": batch.total,
            "digest": digest,
            "key": name,
        }
        draft = self._folder / f".{name}"
        try:
            _write(self._keys / name, self._vault.seal(name, key), new=True)
            _sync(self._keys)
            draft.mkdir(mode=0o700)
            _write(draft / "batch.json", json.dumps(meta).encode(), new=True)
            sealed = AESGCM(key).encrypt(nonce, text.encode(), batch.id.encode())
            _write(draft / "cases.sealed", nonce + sealed, new=True)
            _write(draft / "done.ndjson", b"", new=True)
            _sync(draft)
            draft.rename(self._folder / batch.id)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            (self._keys / name).unlink(missing_ok=True)
            if error.errno in (EEXIST, ENOTEMPTY):
                return False
            raise
        _sync(self._folder)
        return True

    def _make_folders(self) -> None:
        # One by one: the mode is not for parents that mkdir makes on the way.
        for folder in (self._folder, self._keys):
            for one in (folder.parent.parent, folder.parent, folder):
                one.mkdir(mode=0o700, exist_ok=True)

    def _created_at(self, id: BatchId) -> str:
        return str(self._meta(id)["created_at"])

    def _meta(self, id: BatchId) -> dict[str, Any]:
        meta: dict[str, Any] = json.loads(self._path(id, "batch.json").read_bytes())
        return meta

    def _path(self, id: BatchId, name: str) -> Path:
        return (self._holder(id) or self._folder) / id / name

    def _holder(self, id: BatchId) -> Path | None:
        """Return the folder of the instance that took a batch: ours, if we did."""
        if (self._folder / id).is_dir():
            return self._folder
        others = self._all.iterdir() if self._all.is_dir() else ()
        return next((folder for folder in others if (folder / id).is_dir()), None)

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Keep other processes from taking a batch with a key meanwhile."""
        file = os.open(self._all, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def _secret(self) -> bytes:
        """Return the secret of the names and digests, made by whoever comes first."""
        path = self._keys / "secret"
        if not path.exists():
            draft = self._keys / f".{os.urandom(16).hex()}"
            _write(draft, self._vault.seal(path.name, os.urandom(_KEY_BYTES)), new=True)
            with suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
            _sync(self._keys)
        return self._vault.open(path.name, path.read_bytes())


def take_over(data: Path, gone: str, heir: str) -> int:
    """Give the open batches of an instance that runs no more to another one; return how many.

    To be called while neither runs.
    """
    taken = 0
    for waiting in (data / "batches" / gone).glob("*/cases.sealed"):
        batch, to = waiting.parent, data / "batches" / heir
        to.mkdir(mode=0o700, exist_ok=True)
        batch.rename(to / batch.name)
        _sync(to)
        taken += 1
    return taken


def _named(secret: bytes, caller: str, key: str) -> str:
    """Return the id of the batch that a caller's key stands for. It cannot be guessed."""
    named = f"{len(caller)}:{caller}:{key}".encode()
    return hmac.digest(secret, named, "sha256").hex()[:32]


def _write(path: Path, content: bytes, *, new: bool = False) -> None:
    """Write a file for its owner alone, on stable storage on return."""
    flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if new else 0)
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _translated() -> Iterator[None]:
    """Say a disk's error in our words."""
    try:
        yield
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise JournalFull("The disk has no room for the batch.") from error
        raise JournalUnavailable(f"the disk refuses: {type(error).__name__}") from error
