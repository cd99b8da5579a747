"""What a journal has more than a backup of it: its later events, and the claims they made."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw

from ddx.adapters.sqlite_journal.store import feedback_index, meta, open_for_reading, translated
from ddx.core.archive import Tail
from ddx.errors import BadBackup, OutputRefused

_BUSY_MS = 60_000


def tail(journal: Path) -> Tail:
    """Return a journal's last event. Raises JournalUnavailable, JournalDamaged."""
    try:
        with closing(open_for_reading(journal)) as db:
            return _tail(db, "main")
    except apsw.Error as error:
        raise translated(error) from error


def copy_later(journal: Path, before: Tail, to: Path) -> Tail:
    """Copy into a new file, as they are at one moment, the events after those of a backup, and
    the claims that they made, while the writer goes on; return the last.

    Raises OutputRefused where the journal does not go on from there.
    """
    try:
        with closing(apsw.Connection(str(to))) as db:
            db.set_busy_timeout(_BUSY_MS)
            db.execute("pragma main.journal_mode = off; pragma main.synchronous = off")
            db.execute("attach ? as source", (str(journal),))
            db.execute("begin")
            _check(db, before)
            found = _tail(db, "source")
            db.execute(
                "create table event as select * from source.event where seq > ? order by seq",
                (before.seq,),
            )
            # A claim is written with the event that accepts its prediction, and at no other time.
            db.execute(
                "create table claim as select c.* from source.claim c join source.event e"
                " on e.kind = 'accepted' and e.prediction_id = c.prediction_id where e.seq > ?",
                (before.seq,),
            )
            db.execute("create table meta as select * from source.meta")
            db.execute("commit")
            return found
    except apsw.Error as error:
        raise translated(error) from error


def append_later(journal: Path, later: Path, before: Tail, after: Tail) -> None:
    """Put what `copy_later` copied into a restored journal. Raises BadBackup."""
    try:
        with closing(apsw.Connection(str(journal))) as db:
            db.execute("attach ? as later", (str(later),))
            db.execute("begin immediate")
            if _tail(db, "main") != before or meta(db, "journal_id") != after.journal_id:
                raise BadBackup(
                    f"the journal {journal.stem} ends elsewhere than its increment says"
                )
            db.execute("insert into event select * from later.event order by seq")
            db.execute(
                "insert into claim select * from later.claim where true on conflict (tracker)"
                " do update set body = excluded.body, prediction_id = excluded.prediction_id"
            )
            feedback_index(db)
            count = db.execute("select count(*) from event").get
            if _tail(db, "main") != after or count != after.seq:
                raise BadBackup(f"the increment of the journal {journal.stem} lacks events")
            db.execute("commit")
    except apsw.Error as error:
        raise BadBackup(
            f"the increment of the journal {journal.stem} does not fit: {type(error).__name__}"
        ) from error


def _tail(db: apsw.Connection, schema: str) -> Tail:
    row = db.execute(
        f"select seq, link from {schema}.event order by seq desc limit 1"  # noqa: S608
    ).fetchone()
    named = db.execute(
        f"select value from {schema}.meta where name = 'journal_id'"  # noqa: S608
    ).get
    seq, link = row or (0, b"")
    return Tail(journal_id=str(named), seq=int(seq), link=link.hex())


def _check(db: apsw.Connection, before: Tail) -> None:
    row = db.execute("select link from source.event where seq = ?", (before.seq,)).fetchone()
    link = row[0].hex() if row else ""
    if _tail(db, "source").journal_id != before.journal_id or link != before.link:
        raise OutputRefused(
            "the earlier backup is of another installation, or this one was restored from an"
            " older backup since: make a whole one, without --since"
        )
