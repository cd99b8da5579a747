"""The one table of claims, and what is asked of it, the same in SQLite and in PostgreSQL."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol

from ddx.adapters.claims.desk import Desk, Job
from ddx.core.claims import hashed
from ddx.core.record import Completion, Prediction, PredictionId
from ddx.ports import Claim, Held, Holder, Standing

COLUMNS = "body, prediction_id, node, instance, life, retry_of, standing, reply"
GIVEN_BACK = "given back"
"""In place of the life of a process: nobody works on what the tracker stands for."""
Earlier = Callable[[Claim], Held | None]
"""Who held a tracker before there were these claims."""


class Transaction(Protocol):
    """What is asked, with `?` for each value."""

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement; return what it gives."""


class Table:
    """Takes, looks up and gives up. Its database is the subclass's."""

    name = "claim"
    locked = ""
    """What makes a `select` keep the row until the end of the transaction."""

    def __init__(self, desk: Desk, holder: Holder, secret: bytes, earlier: Earlier) -> None:
        self.holder = holder
        self._desk, self._secret, self._earlier = desk, secret, earlier

    def take(self, claim: Claim, prediction: Prediction) -> Future[Held | None]:
        """Take a tracker; see ports.Claims."""
        tracker, body = self._hashes(claim)
        do = partial(self._take, claim, tracker, body, prediction)
        return self._desk.ask(Job(do, order=tracker))

    def look(self, claim: Claim) -> Future[Held | None]:
        """Return who holds it; see ports.Claims."""
        tracker, body = self._hashes(claim)
        return self._desk.ask(Job(partial(self._held, claim, tracker, body), order=tracker))

    def release(self, id: PredictionId) -> None:
        """Give it up; see ports.Claims."""
        self._desk.ask(Job(partial(self._release, id), owed=True))

    def close(self) -> None:
        """Write what is waiting, then let go."""
        self._desk.close()

    # --- in the desk's thread -----------------------------------------------------------

    def _take(
        self, claim: Claim, tracker: bytes, body: bytes, prediction: Prediction, db: Transaction
    ) -> Held | None:
        while True:
            row = self._row(db, tracker, self.locked)
            held = self._of(db, row, body) if row else self._earlier(claim)
            if held is not None and held.by != claim.replaces:
                return held
            values = (prediction.id, *self._own(), prediction.retry_of, self._first_standing())
            if row:
                db.rows(
                    f"update {self.name} set prediction_id = ?, node = ?, instance = ?, life = ?,"  # noqa: S608
                    " retry_of = ?, standing = ?, reply = null where tracker = ?",
                    *values,
                    tracker,
                )
                return None
            made = db.rows(
                f"insert into {self.name} (tracker, body, prediction_id, node, instance, life,"  # noqa: S608
                " retry_of, standing) values (?, ?, ?, ?, ?, ?, ?, ?)"
                " on conflict (tracker) do nothing returning 1",
                tracker,
                body,
                *values,
            )
            if made:
                return None
            # Another process took it in between, and has committed by now.

    def _held(self, claim: Claim, tracker: bytes, body: bytes, db: Transaction) -> Held | None:
        row = self._row(db, tracker)
        return self._of(db, row, body) if row else self._earlier(claim)

    def _row(self, db: Transaction, tracker: bytes, locked: str = "") -> tuple[Any, ...] | None:
        rows = db.rows(f"select {COLUMNS} from {self.name} where tracker = ?{locked}", tracker)  # noqa: S608
        return rows[0] if rows else None

    def _of(self, db: Transaction, row: tuple[Any, ...], body: bytes) -> Held:
        its_body, id, node, instance, life, retry_of, standing, reply = row
        return Held(
            by=PredictionId(id),
            same_body=hmac.compare_digest(bytes(its_body), body),
            holder=Holder(node=node, instance=instance, life=life),
            retry_of=PredictionId(retry_of) if retry_of else None,
            standing=Standing(standing),
            reply=self._unsealed(id, reply),
            heard=self._heard(db, life),
        )

    def _release(self, id: PredictionId, db: Transaction) -> None:
        """What it was to try again has the tracker back; where there is no such, nobody has."""
        db.rows(
            f"update {self.name} set prediction_id = retry_of, retry_of = null, standing = ?,"  # noqa: S608
            " life = ? where prediction_id = ? and life = ? and retry_of is not null",
            self._ended_standing(),
            GIVEN_BACK,
            id,
            self.holder.life,
        )
        db.rows(
            f"delete from {self.name} where prediction_id = ? and life = ?",  # noqa: S608
            id,
            self.holder.life,
        )

    def _own(self) -> tuple[str, str, str]:
        return self.holder.node, self.holder.instance, self.holder.life

    def _hashes(self, claim: Claim) -> tuple[bytes, bytes]:
        return hashed(self._secret, claim.scope, claim.tracker, claim.body)

    # --- what a database may know besides -----------------------------------------------

    def _first_standing(self) -> str:
        return Standing.UNKNOWN

    def _ended_standing(self) -> str:
        return Standing.UNKNOWN

    def _unsealed(self, id: str, reply: bytes | None) -> Completion | None:  # noqa: ARG002
        return None

    def _heard(self, db: Transaction, life: str) -> bool:  # noqa: ARG002
        return True
