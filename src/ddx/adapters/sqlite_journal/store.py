"""The file: its tables, its rows, and how a payload is sealed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ddx.core.chain import Header, Kind
from ddx.errors import JournalDamaged, JournalFull, JournalUnavailable

FORMAT = 1
_SCHEMA = """
create table meta (name text primary key, value text not null) strict, without rowid;
create table event (
    seq integer primary key,
    kind text not null,
    prediction_id text not null,
    key_id integer not null,
    written_at_us integer not null,
    nonce blob not null,
    link blob not null,
    payload blob not null
) strict;
create unique index accepted_once on event (prediction_id) where kind = 'accepted';
create unique index finished_once on event (prediction_id) where kind = 'finished';
create trigger event_is_final before update on event
    begin select raise(abort, 'events are append-only'); end;
create trigger event_stays before delete on event
    begin select raise(abort, 'events are append-only'); end;
-- Derived from the events: which prediction a tracker stands for now. Keyed hashes only.
create table claim (
    tracker blob primary key,
    body blob not null,
    prediction_id text not null
) strict, without rowid;
"""


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the files of one instance are. Keys are kept, and backed up, apart."""

    data: Path
    instance: str

    @property
    def journal(self) -> Path:
        """The journal."""
        return self.data / "journals" / f"{self.instance}.db"

    @property
    def lock(self) -> Path:
        """Held by the journal's one writer."""
        return self.data / "journals" / f"{self.instance}.lock"

    @property
    def keys(self) -> Path:
        """The records' keys."""
        return self.data / "keys" / f"{self.instance}.keys"

    @property
    def claims_key(self) -> Path:
        """Secret of the trackers' hashes, shared by the deployment."""
        return self.data / "keys" / "claims.key"

    def make_folders(self) -> None:
        """Make the folders, for their owner alone."""
        for folder in (self.data, self.journal.parent, self.keys.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)


# Made when a writer of this version first opens the file; a journal without it has no feedback.
FEEDBACK_INDEX = "feedback_in_order"
_FEEDBACK_INDEX = (
    f"create index if not exists {FEEDBACK_INDEX} on event (prediction_id, seq)"
    " where kind = 'feedback'"
)


def open_for_writing(path: Path, vfs: str | None = None) -> apsw.Connection:
    """Open or create a journal. Raises JournalUnavailable, JournalDamaged."""
    if not path.exists():
        # SQLite would create it with the umask's mode.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    try:
        db = apsw.Connection(str(path), vfs=vfs)
        db.set_busy_timeout(5_000)
        db.execute("pragma journal_mode = wal")
        # FULL: a commit returns once the log is synced. NORMAL can lose the last ones.
        db.execute("pragma synchronous = full")
        if not list(db.execute("select 1 from sqlite_master where name = 'meta'")):
            with db:
                db.execute(_SCHEMA)
                db.execute(
                    "insert into meta values ('format', ?), ('journal_id', ?)",
                    (str(FORMAT), uuid.uuid4().hex),
                )
        _check_format(db, path)
        feedback_index(db)
    except apsw.Error as error:
        raise translated(error) from error
    return db


def feedback_index(db: apsw.Connection) -> None:
    """Make the index without which a journal is taken to have no feedback."""
    db.execute(_FEEDBACK_INDEX)


def open_for_reading(path: Path) -> apsw.Connection:
    """Open a journal beside its writer. Raises JournalUnavailable, JournalDamaged."""
    try:
        # Not read-only: a reader may have to recover the log of a writer that was killed.
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        db.set_busy_timeout(5_000)
        db.execute("pragma query_only = on")
        _check_format(db, path)
    except apsw.Error as error:
        raise translated(error) from error
    return db


def _check_format(db: apsw.Connection, path: Path) -> None:
    found = meta(db, "format")
    if found != str(FORMAT):
        raise JournalDamaged(f"{path.name} has format {found}; this program reads {FORMAT}")


def meta(db: apsw.Connection, name: str) -> str:
    """Return a value of the table meta."""
    row = db.execute("select value from meta where name = ?", (name,)).fetchone()
    if row is None:
        raise JournalDamaged(f"the journal has no {name}")
    return str(row[0])


def seal(key: bytes, header: Header, payload: str) -> bytes:
    """Encrypt a payload with AES-256-GCM, bound to its header."""
    return AESGCM(key).encrypt(header.nonce, payload.encode(), header.encode())


def unseal(key: bytes, header: Header, ciphertext: bytes) -> str:
    """Decrypt a payload. Raises JournalDamaged where a byte of it or its header changed."""
    try:
        return AESGCM(key).decrypt(header.nonce, ciphertext, header.encode()).decode()
    except InvalidTag as error:
        raise JournalDamaged(f"event {header.seq} was changed after it was written") from error


COLUMNS = "seq, kind, prediction_id, key_id, written_at_us, nonce, link, payload"


def header_of(journal_id: str, row: Sequence[Any]) -> Header:
    """Return the header in a row of `COLUMNS`."""
    seq, kind, prediction_id, key_id, written_at_us, nonce, *_ = row
    return Header(
        journal_id=journal_id,
        seq=seq,
        kind=Kind(str(kind)),
        prediction_id=str(prediction_id),
        key_id=key_id,
        written_at_us=written_at_us,
        nonce=nonce,
    )


def translated(error: apsw.Error | OSError) -> JournalUnavailable | JournalDamaged:
    """Say a library's error in our words."""
    if isinstance(error, apsw.FullError) or getattr(error, "errno", None) in (28, 122):
        return JournalFull()
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return JournalDamaged("the journal's file is damaged")
    return JournalUnavailable(f"the journal's disk refuses: {type(error).__name__}")
