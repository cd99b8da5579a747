"""The file: its tables, and how its rows are read."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw

from ddx.adapters.delivery_state.share import last_progress_ms
from ddx.core.delivery import UNFINISHED, Delivery, DeliveryStatus, Place, State
from ddx.core.record import PredictionId
from ddx.errors import JournalDamaged, JournalFull, JournalUnavailable

log = logging.getLogger("ddx")
FORMAT = 1
SCHEMA = """
create table place (
    journal_id text primary key,
    cursor integer not null,
    door text not null,
    look_below integer not null,
    resend_below integer not null
) strict, without rowid;
create table delivery (
    prediction_id text primary key,
    journal_id text not null,
    seq integer not null,
    state text not null,
    changed_ms integer not null,
    run_id text,
    attempts integer not null,
    error_code text
) strict, without rowid;
create index delivery_in_order on delivery (state, journal_id, seq);
create table failure (only integer primary key check (only = 1), code text, at_ms integer) strict;
"""
COLUMNS = "journal_id, seq, prediction_id, state, changed_ms, run_id, attempts, error_code"


def open_or_replace(path: Path, *, alone: bool) -> apsw.Connection:
    """Open the notes. A damaged file is put aside: nothing in it is beyond finding out again.

    Where others may have it open, not `alone`, it stays: they would go on writing in it.
    """
    try:
        with translated():
            return _open(path)
    except JournalDamaged as error:
        if not alone:
            raise
        aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
        log.warning(
            "delivery state is damaged and put aside",
            extra={"event": "delivery_state_damaged", "reason": str(error)},
        )
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        with translated():
            return _open(path)


def _open(path: Path) -> apsw.Connection:
    # SQLite would create it with the umask's mode.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    db = apsw.Connection(str(path))
    try:
        db.set_busy_timeout(5_000)
        db.execute("pragma journal_mode = wal")
        # FULL: that a create was about to be sent must be known after a power cut.
        db.execute("pragma synchronous = full")
        _check(db)
        if db.execute("pragma user_version").get != FORMAT:
            _make(db)
    except BaseException:
        db.close()
        raise
    return db


def _make(db: apsw.Connection) -> None:
    db.execute("begin immediate")
    with db:
        # Another deliverer may have made them meanwhile.
        if db.execute("pragma user_version").get != FORMAT:
            db.execute(SCHEMA)
            db.execute(f"pragma user_version = {FORMAT}")
    db.execute("commit")


def _check(db: apsw.Connection) -> None:
    if db.execute("pragma quick_check").get != "ok":
        raise apsw.CorruptError("quick_check")


def place_of(db: apsw.Connection, journal_id: str) -> Place | None:
    """Return how far a journal is delivered, None where it was never seen."""
    row = db.execute(
        "select journal_id, cursor, door, look_below, resend_below from place where journal_id = ?",
        (journal_id,),
    ).fetchone()
    if row is None:
        return None
    return Place(
        journal_id=row[0], cursor=row[1], door=row[2], look_below=row[3], resend_below=row[4]
    )


def delivery_of(row: Sequence[Any]) -> Delivery:
    """Return the delivery in a row of `COLUMNS`."""
    journal_id, seq, prediction_id, state, changed_ms, run_id, attempts, error_code = row
    return Delivery(
        journal_id=journal_id,
        seq=seq,
        prediction_id=PredictionId(prediction_id),
        state=State(state),
        changed_ms=changed_ms,
        run_id=run_id,
        attempts=attempts,
        error_code=error_code,
    )


def deliveries_of(db: apsw.Connection, states: Collection[State], limit: int) -> Sequence[Delivery]:
    """Return up to `limit` deliveries in these states, in order of journal and sequence."""
    marks = ", ".join("?" * len(states))
    rows = db.execute(
        f"select {COLUMNS} from delivery where state in ({marks})"  # noqa: S608  (question marks)
        " order by journal_id, seq limit ?",
        (*sorted(state.value for state in states), limit),
    )
    return [delivery_of(row) for row in rows]


def status_of(db: apsw.Connection) -> DeliveryStatus:
    """Return the status, without the sign of life, which is no row."""
    counts = dict(db.execute("select state, count(*) from delivery group by state"))
    unfinished = sorted(state.value for state in UNFINISHED)
    oldest = db.execute(
        "select min(prediction_id) from delivery where state in (?, ?, ?)", unfinished
    ).get
    code, at_ms = db.execute("select code, at_ms from failure").fetchone() or (None, 0)
    return DeliveryStatus(
        error_code=code,
        error_ms=at_ms,
        aside=sum(counts.get(state, 0) for state in unfinished),
        quarantined=counts.get(State.QUARANTINED.value, 0),
        oldest_aside=PredictionId(oldest) if oldest else None,
        cursors=dict(db.execute("select journal_id, cursor from place")),
    )


def with_life(status: DeliveryStatus, lock: Path) -> DeliveryStatus:
    """Add when delivery last made progress: the times of the leases' files.

    Of one that delivers alone, that of `lock`; of several, of the journal that waits longest.
    """
    try:
        alive_ms = lock.stat().st_mtime_ns // 1_000_000
    except FileNotFoundError:
        return status
    return replace(status, alive_ms=max(alive_ms, last_progress_ms(lock.parent) or 0))


@contextmanager
def translated() -> Iterator[None]:
    """Say apsw's errors in our words."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise JournalDamaged("the delivery state's file is damaged") from error
    except apsw.FullError as error:
        raise JournalFull("the disk has no room for the delivery state") from error
    except apsw.Error as error:
        name = type(error).__name__
        raise JournalUnavailable(f"the delivery state's disk refuses: {name}") from error
