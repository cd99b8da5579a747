"""A journal seen from another process or thread."""

from __future__ import annotations

import hmac
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import apsw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ddx.adapters.sqlite_journal.keys import KeyFile, shared_secret
from ddx.adapters.sqlite_journal.store import (
    COLUMNS,
    FEEDBACK_INDEX,
    Paths,
    header_of,
    meta,
    open_for_reading,
    translated,
    unseal,
)
from ddx.core import codec
from ddx.core.chain import ChainedEvent, Kind
from ddx.core.claims import hashed
from ddx.core.feedback import Feedback
from ddx.core.record import Completion, Prediction, PredictionId
from ddx.errors import Erased, JournalDamaged, PredictionNotFound
from ddx.ports import Claim, Event, Held, Vault

_NONCE_BYTES = 12


class SqliteJournalReader:
    """Reads one journal while its writer goes on. Safe to share between threads."""

    def __init__(self, data: Path, instance: str, vault: Vault | None = None) -> None:
        paths = Paths(data, instance)
        self.instance = instance
        self._db = open_for_reading(paths.journal)
        self._keys = KeyFile(paths.keys, writable=False, vault=vault)
        self._lock = Lock()
        self.journal_id = meta(self._db, "journal_id")
        self._has_feedback = False

    def events(self, after: int, limit: int) -> Sequence[Event]:
        """Return up to `limit` events with a sequence above `after`, in order."""
        rows = self._select(
            "select seq, kind, prediction_id from event where seq > ? order by seq limit ?",
            (after, limit),
        )
        return [
            Event(seq=seq, kind=Kind(kind), prediction_id=PredictionId(id))
            for seq, kind, id in rows
        ]

    def predictions(self, ids: Sequence[PredictionId]) -> Sequence[Prediction]:
        """Return these records as they stand, in this order; the erased are left out."""
        found = []
        for id in ids:
            with suppress(Erased):
                record = self.find(id)
                if record is None:
                    raise PredictionNotFound(f"the journal does not hold prediction {id}")
                found.append(record)
        return found

    def find(self, id: PredictionId) -> Prediction | None:
        """Return the record as it stands. Raises Erased where its key is destroyed."""
        accepted = self._payload(Kind.ACCEPTED, id)
        if accepted is None:
            return None
        prediction = codec.decode(accepted, Prediction)
        finished = self._payload(Kind.FINISHED, id)
        if finished is None:
            return prediction
        return prediction.completed(codec.decode(finished, Completion))

    def feedback_of(self, id: PredictionId) -> Sequence[Feedback]:
        """Return what was said of a prediction, in order. Raises Erased."""
        if not self._has_feedback:
            # Without its index, which a writer makes before the first, there is none.
            named = "select 1 from sqlite_master where name = ?"
            self._has_feedback = bool(self._select(named, (FEEDBACK_INDEX,)))
        if not self._has_feedback:
            return []
        rows = self._select(
            f"select {COLUMNS} from event indexed by {FEEDBACK_INDEX}"  # noqa: S608  (constants)
            " where kind = 'feedback' and prediction_id = ? order by seq",
            (id,),
        )
        return [codec.decode(self._unsealed(row), Feedback) for row in rows]

    def newest(
        self, before: PredictionId | None, since: PredictionId | None, limit: int
    ) -> Sequence[PredictionId]:
        """Return ids, the newest first; see ports.Journal."""
        rows = self._select(
            "select prediction_id from event indexed by accepted_once where kind = 'accepted'"
            " and prediction_id < ? and prediction_id >= ? order by prediction_id desc limit ?",
            # Every id of ours is below `g`: it is made of hexadecimal digits.
            (before or "g", since or "", limit),
        )
        return [PredictionId(id) for (id,) in rows]

    def chained(self, after: int, limit: int) -> Sequence[ChainedEvent]:
        """Return up to `limit` events with their links, in order, as they stand in the file."""
        rows = self._select(
            f"select {COLUMNS} from event where seq > ? order by seq limit ?",  # noqa: S608
            (after, limit),
        )
        return [
            ChainedEvent(header=header_of(self.journal_id, row), link=row[-2], ciphertext=row[-1])
            for row in rows
        ]

    def last_seq(self) -> int:
        """Return the sequence of the newest event, 0 where there is none."""
        return int(self._select("select coalesce(max(seq), 0) from event")[0][0])

    def backlog(self, after: int) -> tuple[int, int]:
        """Return (events, payload bytes) above a sequence. Bytes are estimated from the file
        size, so that the answer costs the same for any backlog.
        """
        last = self.last_seq()
        pages = int(self._select("select page_count from pragma_page_count")[0][0])
        waiting = max(0, last - after)
        return waiting, round(pages * 4096 * waiting / last) if last else 0

    def unfinished(self) -> Sequence[PredictionId]:
        """Return what was accepted and has no outcome, in order of acceptance."""
        rows = self._select(
            "select prediction_id from event indexed by accepted_once where kind = 'accepted'"
            " and not exists (select 1 from event f indexed by finished_once"
            " where f.kind = 'finished' and f.prediction_id = event.prediction_id)"
            " order by seq"
        )
        return [PredictionId(id) for (id,) in rows]

    def key_id(self, id: PredictionId) -> int:
        """Return which key an accepted prediction is under."""
        rows = self._select(
            "select key_id from event where kind = 'accepted' and prediction_id = ?", (id,)
        )
        return int(rows[0][0])

    def seal_beside(self, id: PredictionId, text: str) -> bytes:
        """Return a text that is kept elsewhere, sealed under the record's key, so that it is
        erased with the record. Raises Erased.
        """
        nonce = os.urandom(_NONCE_BYTES)
        cipher = AESGCM(self._keys.get(self.key_id(id)))
        return nonce + cipher.encrypt(nonce, zlib.compress(text.encode()), _beside(id))

    def unseal_beside(self, id: PredictionId, sealed: bytes) -> str:
        """Return what `seal_beside` sealed. Raises Erased, JournalDamaged."""
        cipher = AESGCM(self._keys.get(self.key_id(id)))
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return zlib.decompress(cipher.decrypt(nonce, rest, _beside(id))).decode()
        except (InvalidTag, ValueError) as error:
            raise JournalDamaged(f"what was sealed beside {id} was changed") from error

    def claim(self, tracker: bytes) -> tuple[bytes, PredictionId] | None:
        """Return (body hash, prediction) of a tracker's hash."""
        rows = self._select("select body, prediction_id from claim where tracker = ?", (tracker,))
        return (rows[0][0], PredictionId(rows[0][1])) if rows else None

    def close(self) -> None:
        """Let go of the files. Who reads meanwhile ends first; later, JournalUnavailable."""
        with self._lock:
            self._db.close()
        self._keys.close()

    def _payload(self, kind: Kind, id: PredictionId) -> str | None:
        index = "accepted_once" if kind is Kind.ACCEPTED else "finished_once"
        rows = self._select(
            f"select {COLUMNS} from event indexed by {index}"  # noqa: S608  (constants)
            f" where kind = '{kind}' and prediction_id = ?",
            (id,),
        )
        if not rows:
            return None
        return self._unsealed(rows[0])

    def _unsealed(self, row: tuple[Any, ...]) -> str:
        header = header_of(self.journal_id, row)
        return unseal(self._keys.get(header.key_id), header, row[-1])

    def _select(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return list(self._db.execute(sql, values))
        except apsw.Error as error:
            raise translated(error) from error


def _beside(id: PredictionId) -> bytes:
    """Bind what is sealed to its prediction; an event's header is never like it."""
    return f"ddx-beside-1:{id}".encode()


def find_journals(data: Path) -> Iterator[str]:
    """Yield the instances that have a journal below a data folder, in order of name."""
    for path in sorted((data / "journals").glob("*.db")):
        yield path.stem


class OldClaims:
    """The claims that journals took for themselves, before all processes shared them.

    Asked where nobody holds a tracker yet. For one thread.
    """

    def __init__(self, data: Path, vault: Vault | None = None) -> None:
        self._data, self._vault = data, vault
        self._secret = shared_secret(Paths(data, "").claims_key, vault)
        self._open: dict[str, SqliteJournalReader] = {}

    def __call__(self, claim: Claim) -> Held | None:
        """Return who holds a tracker. Raises JournalUnavailable, JournalDamaged."""
        tracker, body = hashed(self._secret, claim.scope, claim.tracker, claim.body)
        for instance in find_journals(self._data):
            if instance not in self._open:
                if not Paths(self._data, instance).keys.exists():
                    continue  # it is just being made
                self._open[instance] = SqliteJournalReader(self._data, instance, self._vault)
            held = self._open[instance].claim(tracker)
            if held is not None:
                return Held(by=held[1], same_body=hmac.compare_digest(held[0], body))
        return None
