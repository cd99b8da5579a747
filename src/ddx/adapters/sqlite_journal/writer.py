"""The journal's one writer: a thread that commits what waits, many events to one sync.

A lone event is committed at once; while a commit is under way the next events gather, and the
following commit takes them all. So the wait is at most the sync under way plus one's own.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import apsw

from ddx.adapters.sqlite_journal.keys import KeyFile, shared_secret, sync_folder
from ddx.adapters.sqlite_journal.reader import SqliteJournalReader
from ddx.adapters.sqlite_journal.store import (
    Paths,
    meta,
    open_for_writing,
    seal,
    translated,
)
from ddx.core import codec
from ddx.core.chain import Header, Kind, genesis, link
from ddx.core.claims import hashed
from ddx.core.feedback import Feedback
from ddx.core.record import Prediction, PredictionId
from ddx.errors import (
    AlreadyFinished,
    DdxError,
    Erased,
    JournalInUse,
    JournalUnavailable,
    PredictionNotFound,
)
from ddx.ports import Claim, Held, Kept, Vault

BATCH = 512
"""Most events in one commit."""


@dataclass(slots=True)
class _Job:
    """One caller's wish, and where it waits for the answer."""

    id: PredictionId
    claim: Claim | None
    events: tuple[tuple[Kind, str], ...]
    """None of them where the wish is to see whether writing works."""
    answer: Future[Any]


class SqliteJournal:
    """A Journal in one SQLite file. Opening it takes the writer's lock, and opens the keys.

    `vfs` names another file system layer of SQLite: the fault tests bring one that fails.
    """

    def __init__(
        self,
        data: Path,
        instance: str,
        vault: Vault | None = None,
        *,
        vfs: str | None = None,
        life: str = "",
    ) -> None:
        """`life` tells this process from others that wrote the journal; see writer_of."""
        paths = Paths(data, instance)
        self.instance = instance
        try:
            paths.make_folders()
            self._lock = take_lock(paths, life)
            try:
                self._keys = KeyFile(paths.keys, writable=True, vault=vault)
                # Now, and not at the first request: a server without its keys takes none.
                self._keys.check()
                self._secret = shared_secret(paths.claims_key, vault)
                self._db = open_for_writing(paths.journal, vfs)
                sync_folder(paths.journal.parent)
            except BaseException:
                os.close(self._lock)
                raise
        except OSError as error:
            raise translated(error) from error
        self._reader = SqliteJournalReader(data, instance, vault)
        self.journal_id = meta(self._db, "journal_id")
        self._seq, self._link = self._tail()
        self._next_key = self._first_free_key()
        self._key_count = self._keys.count()
        self._open_keys = self._keys_of_unfinished()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._closed = False
        self.fault: str | None = None
        self.synced_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    # --- the port -----------------------------------------------------------------------

    def accept(self, prediction: Prediction, claim: Claim | None) -> Future[Kept | Held]:
        """Keep a prediction; see ports.Journal."""
        accepted = replace(prediction, completion=None)
        events = [(Kind.ACCEPTED, codec.encode(accepted))]
        if prediction.completion is not None:
            events.append((Kind.FINISHED, codec.encode(prediction.completion)))
        return self._submit(prediction.id, claim, tuple(events))

    def finish(self, prediction: Prediction) -> Future[Kept]:
        """Keep the completion; see ports.Journal."""
        if prediction.completion is None:
            raise ValueError(f"{prediction.id} has no completion")
        events = ((Kind.FINISHED, codec.encode(prediction.completion)),)
        return self._submit(prediction.id, None, events)

    def add_feedback(self, id: PredictionId, feedback: Feedback) -> Future[Kept]:
        """Keep what somebody said; see ports.Journal."""
        return self._submit(id, None, ((Kind.FEEDBACK, codec.encode(feedback)),))

    def add_erasure(self, id: PredictionId) -> Future[Kept]:
        """Keep that a prediction is erased; see ports.Journal."""
        return self._submit(id, None, ((Kind.ERASED, "{}"),))

    def feedback_of(self, id: PredictionId) -> Sequence[Feedback]:
        """Return what was said of a prediction, in order. Raises Erased."""
        return self._reader.feedback_of(id)

    def probe(self) -> Future[None]:
        """Write and sync something that is no event, to see whether it works again."""
        return self._submit(PredictionId(""), None, ())

    def find(self, id: PredictionId) -> Prediction | None:
        """Return the record as it stands. Raises Erased where its key is destroyed."""
        return self._reader.find(id)

    def newest(
        self, before: PredictionId | None, since: PredictionId | None, limit: int
    ) -> Sequence[PredictionId]:
        """Return ids, the newest first; see ports.Journal."""
        return self._reader.newest(before, since, limit)

    def holder(self, claim: Claim) -> Held | None:
        """Return who holds the tracker now."""
        tracker, body = self._hashes(claim)
        held = self._reader.claim(tracker)
        return Held(by=held[1], same_body=hmac.compare_digest(held[0], body)) if held else None

    def unfinished(self) -> Sequence[PredictionId]:
        """Return what was accepted and has no outcome, in order of acceptance."""
        return self._reader.unfinished()

    def last_seq(self) -> int:
        """Return the sequence of the newest event."""
        return self._seq

    def close(self) -> None:
        """Write what is waiting, then let go of the files."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        self._thread.join()
        self._reader.close()
        self._db.close()
        self._keys.close()
        os.close(self._lock)

    # --- the writer's thread ------------------------------------------------------------

    def _submit(
        self, id: PredictionId, claim: Claim | None, events: tuple[tuple[Kind, str], ...]
    ) -> Future[Any]:
        answer: Future[Any] = Future()
        if self._closed:
            answer.set_exception(JournalUnavailable("the journal is closed"))
        else:
            self._jobs.put(_Job(id, claim, events, answer))
        return answer

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch = [self._jobs.get()]
            try:
                while len(batch) < BATCH:
                    batch.append(self._jobs.get_nowait())
            except Empty:
                pass
            going_on = None not in batch
            self._commit([job for job in batch if job is not None])

    def _commit(self, jobs: list[_Job]) -> None:
        """Write a batch in one transaction, then tell each caller."""
        answers: list[Kept | Held | DdxError | None] = []
        before = (self._seq, self._link, self._next_key, dict(self._open_keys))
        try:
            with self._db:
                answers.extend(self._write(job) for job in jobs)
        except (apsw.Error, OSError, DdxError) as error:
            self._seq, self._link, self._next_key, self._open_keys = before
            cause = error if isinstance(error, DdxError) else translated(error)
            self.fault = cause.code
            for job in jobs:
                job.answer.set_exception(cause)
            return
        self.fault, self.synced_at = None, time.time()
        for job, answer in zip(jobs, answers, strict=True):
            if isinstance(answer, DdxError):
                job.answer.set_exception(answer)
            else:
                job.answer.set_result(answer)

    def _write(self, job: _Job) -> Kept | Held | DdxError | None:
        id = job.id
        if not job.events:
            self._db.execute(
                "insert or replace into meta values ('probed_at_us', ?)",
                (str(time.time_ns() // 1000),),
            )
            return None
        first = job.events[0][0]
        if first is Kind.FEEDBACK:
            return self._write_feedback(job)
        if first is Kind.ERASED:
            # Under a key of its own: that of its record, if it is here at all, is on its way out.
            self._append(Kind.ERASED, id, *self._take_key(), job.events[0][1])
            return Kept(seq=self._seq)
        if first is Kind.ACCEPTED:
            if job.claim is not None and (held := self._claim(job.claim, id)) is not None:
                return held
            self._open_keys[id] = self._take_key()
        elif id not in self._open_keys:
            return AlreadyFinished(f"{id} has an outcome, or was never accepted")
        key_id, key = self._open_keys[id]
        for kind, payload in job.events:
            self._append(kind, id, key_id, key, payload)
            if kind is Kind.FINISHED:
                del self._open_keys[id]
        return Kept(seq=self._seq)

    def _write_feedback(self, job: _Job) -> Kept | DdxError:
        row = self._db.execute(
            "select key_id from event indexed by finished_once"
            " where kind = 'finished' and prediction_id = ?",
            (job.id,),
        ).fetchone()
        if row is None:
            return PredictionNotFound()
        try:
            key = self._keys.get(row[0])
        except Erased as error:
            # Returned, for the batch has others in it.
            return error
        for kind, payload in job.events:
            self._append(kind, job.id, row[0], key, payload)
        return Kept(seq=self._seq)

    def _append(self, kind: Kind, id: PredictionId, key_id: int, key: bytes, payload: str) -> None:
        header = Header(
            journal_id=self.journal_id,
            seq=self._seq + 1,
            kind=kind,
            prediction_id=id,
            key_id=key_id,
            written_at_us=time.time_ns() // 1000,
            nonce=os.urandom(12),
        )
        ciphertext = seal(key, header, payload)
        next_link = link(self._link, header.encode(), ciphertext)
        self._db.execute(
            "insert into event values (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                header.seq,
                kind,
                id,
                key_id,
                header.written_at_us,
                header.nonce,
                next_link,
                ciphertext,
            ),
        )
        self._seq, self._link = header.seq, next_link

    def _claim(self, claim: Claim, id: PredictionId) -> Held | None:
        """Take the tracker for `id`, or return who holds it. Decided here, in the one writer,
        so that two requests at the same moment cannot both take it.
        """
        tracker, body = self._hashes(claim)
        row = self._db.execute(
            "select body, prediction_id from claim where tracker = ?", (tracker,)
        ).fetchone()
        if row is not None and row[1] != claim.replaces:
            return Held(by=PredictionId(row[1]), same_body=hmac.compare_digest(row[0], body))
        self._db.execute(
            "insert into claim values (?, ?, ?) on conflict (tracker)"
            " do update set prediction_id = excluded.prediction_id",
            (tracker, body, id),
        )
        return None

    def _hashes(self, claim: Claim) -> tuple[bytes, bytes]:
        return hashed(self._secret, claim.scope, claim.tracker, claim.body)

    def _take_key(self) -> tuple[int, bytes]:
        """Return a fresh key with its number."""
        while True:
            if self._next_key >= self._key_count:
                self._key_count = self._keys.grow()
            number = self._next_key
            self._next_key += 1
            # Destroyed where the journal is older than its keys: a backup's, with newer keys.
            with suppress(Erased):
                return number, self._keys.get(number)

    def _tail(self) -> tuple[int, bytes]:
        """Return sequence and link of the newest event."""
        row = self._db.execute("select seq, link from event order by seq desc limit 1").fetchone()
        return (row[0], row[1]) if row else (0, genesis(self.journal_id))

    def _first_free_key(self) -> int:
        """Keys are taken in the order of acceptance, and one once taken is never given again."""
        row = self._db.execute(
            "select key_id from event where kind in ('accepted', 'erased')"
            " order by seq desc limit 1"
        ).fetchone()
        return int(row[0]) + 1 if row else 0

    def _keys_of_unfinished(self) -> dict[PredictionId, tuple[int, bytes]]:
        numbers = {id: self._reader.key_id(id) for id in self._reader.unfinished()}
        return {id: (number, self._keys.get(number)) for id, number in numbers.items()}


def writer_of(data: Path, instance: str) -> tuple[int, str] | None:
    """Return the process that writes a journal now, and its life; None where none does.

    Two lives of one process id are told apart, and a process that ended is never returned.
    """
    try:
        file = os.open(Paths(data, instance).lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid, _, life = os.pread(file, 100, 0).decode(errors="replace").partition(" ")
        return (int(pid), life.strip()) if pid.isdecimal() else None
    finally:
        os.close(file)
    return None


def take_lock(paths: Paths, life: str = "") -> int:
    """Take the right to write a journal, until the file is closed that is returned.

    Raises JournalInUse, naming the holder.
    """
    path = paths.lock
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(file, 20, 0).decode(errors="replace").partition(" ")[0] or "unknown"
        os.close(file)
        raise JournalInUse(f"process {holder} writes the journal {path.stem!r}") from error
    os.ftruncate(file, 0)
    os.pwrite(file, f"{os.getpid()} {life}".encode(), 0)
    return file
