"""Claims of a deployment of several machines, in a PostgreSQL that all of them reach.

A process cannot read the journal of another machine. So the answer is kept with its claim, sealed
under a key that the machines share and the database does not have, and each process gives a sign
of life.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

import psycopg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ddx.adapters.claims.desk import Desk, Job
from ddx.adapters.claims.sqlite import nobody
from ddx.adapters.claims.table import GIVEN_BACK, Earlier, Table, Transaction
from ddx.core import codec
from ddx.core.claims import derived
from ddx.core.record import Answered, Completion, Declined, EngineAnswer, Prediction, PredictionId
from ddx.errors import ClaimsUnavailable, SettingsError
from ddx.ports import Holder, Standing

_SCHEMA = """
create schema if not exists ddx;
create table if not exists ddx.claim (
    tracker bytea primary key,
    body bytea not null,
    prediction_id text not null,
    node text not null,
    instance text not null,
    life text not null,
    retry_of text,
    standing text not null,
    reply bytea
);
create index if not exists claim_of on ddx.claim (prediction_id);
create index if not exists claim_running on ddx.claim (node) where standing = 'running';
create table if not exists ddx.claim_life (
    life text primary key, node text not null, seen_at timestamptz not null
);
create table if not exists ddx.claim_key (one boolean primary key check (one), proof bytea not null)
"""
_HEARD_S = 10
"""So long a process counts as heard after its last sign of life. It gives one each second."""
_WAITS = {
    "connect_timeout": "3",
    "tcp_user_timeout": "5000",
    "keepalives_idle": "5",
    "application_name": "ddx claims",
    # Durable on the server's own disk at least, whatever its default is.
    "options": "-c statement_timeout=5000 -c lock_timeout=4000 -c synchronous_commit=on",
}
_NONCE_BYTES = 12
_MAKING = 0x0DD7_C1A1
"""Number of the lock under which the tables are made: two makers at once would fail."""


class PostgresClaims(Table):
    """Claims in a database."""

    name = "ddx.claim"
    locked = " for update"

    def __init__(self, uri: str, holder: Holder, secret: bytes, earlier: Earlier = nobody) -> None:
        """Connect, and make the tables where there are none; where the database is away, by the
        first wish that finds it back.

        Raises SettingsError where the secret is not the deployment's.
        """
        self._uri = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", uri)
        self._connection: psycopg.Connection[Any] | None = None
        self._seal = AESGCM(derived(secret, "reply"))
        self._proof = derived(secret, "proof")
        with suppress(ClaimsUnavailable, psycopg.Error):
            self._connected()
        super().__init__(Desk(self._run, self._breathe), holder, secret, earlier)
        with suppress(ClaimsUnavailable):
            self._desk.ask(Job(self._sign)).result()

    def finish(self, prediction: Prediction) -> Future[None]:
        """Keep how it ended; see ports.Claims."""
        return self._desk.ask(Job(partial(self._finish, prediction), owed=True))

    def settle(
        self,
        alive: Callable[[Holder], bool],
        find: Callable[[PredictionId], Prediction | None],
    ) -> int:
        """Say of dead processes' claims how they stand; see ports.Claims."""
        left: list[tuple[str, Holder]] = self._desk.ask(Job(self._running_here)).result()
        dead = [id for id, holder in left if holder != self.holder and not alive(holder)]
        for id in dead:
            # After its process was seen dead: what it wrote before that is found.
            found = find(PredictionId(id))
            ended = partial(self._finish, found) if found else partial(self._give_up, id)
            self._desk.ask(Job(ended)).result()
        return len(dead)

    def forget(self, id: PredictionId) -> None:
        """Destroy what is kept of an answer; see ports.Claims."""
        self._desk.ask(Job(partial(self._forget, id))).result()

    def close(self) -> None:
        """Write what is waiting, then let go of the connection."""
        super().close()
        if self._connection is not None:
            self._connection.close()

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement; see table.Transaction."""
        if self._connection is None:
            raise ClaimsUnavailable("the claims' database is not connected")
        found = self._connection.execute(sql.replace("?", "%s"), values)
        return list(found.fetchall()) if found.description else []

    # --- in the desk's thread -----------------------------------------------------------

    def _run(self, jobs: list[Job]) -> list[Any]:
        try:
            connection = self._connected()
            with connection.transaction():
                return [job.do(self) for job in jobs]
        except psycopg.Error as error:
            self._lose()
            raise _translated(error) from error

    def _finish(self, prediction: Prediction, db: Transaction) -> None:
        completion, outcome = prediction.completion, prediction.outcome
        if completion is not None and isinstance(outcome, Answered | Declined):
            kept = Completion(
                answer=EngineAnswer(outcome=outcome),
                status=completion.status,
                body=completion.body,
            )
            nonce = os.urandom(_NONCE_BYTES)
            text = codec.encode(kept).encode()
            sealed = nonce + self._seal.encrypt(nonce, text, prediction.id.encode())
            self._stands(db, prediction.id, Standing.ANSWERED, sealed)
        else:
            self._stands(db, prediction.id, Standing.ENDED, None)

    def _stands(
        self, db: Transaction, id: PredictionId, standing: Standing, sealed: bytes | None
    ) -> None:
        db.rows(
            "update ddx.claim set standing = ?, reply = ?"
            " where prediction_id = ? and standing = 'running'",
            standing,
            sealed,
            id,
        )

    def _give_up(self, id: str, db: Transaction) -> None:
        db.rows(
            "update ddx.claim set prediction_id = retry_of, retry_of = null, standing = 'ended',"
            " life = ? where prediction_id = ? and retry_of is not null",
            GIVEN_BACK,
            id,
        )
        db.rows("delete from ddx.claim where prediction_id = ? and standing = 'running'", id)

    def _forget(self, id: PredictionId, db: Transaction) -> None:
        db.rows(
            "update ddx.claim set standing = 'erased', reply = null where prediction_id = ?", id
        )

    def _running_here(self, db: Transaction) -> list[tuple[str, Holder]]:
        rows = db.rows(
            "select prediction_id, node, instance, life from ddx.claim"
            " where node = ? and standing = 'running'",
            self.holder.node,
        )
        return [(id, Holder(node=node, instance=own, life=life)) for id, node, own, life in rows]

    def _first_standing(self) -> str:
        return Standing.RUNNING

    def _ended_standing(self) -> str:
        return Standing.ENDED

    def _unsealed(self, id: str, reply: bytes | None) -> Completion | None:
        if reply is None:
            return None
        sealed = bytes(reply)
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            text = self._seal.decrypt(nonce, ciphertext, id.encode()).decode()
        except InvalidTag as error:
            raise ClaimsUnavailable("an answer in the claims' database was changed") from error
        return codec.decode(text, Completion)

    def _heard(self, db: Transaction, life: str) -> bool:
        return bool(
            db.rows(
                "select 1 from ddx.claim_life"
                " where life = ? and seen_at > clock_timestamp() - make_interval(secs => ?)",
                life,
                _HEARD_S,
            )
        )

    # --- signs of life, and the connection ----------------------------------------------

    def _breathe(self) -> None:
        self._run([Job(self._sign)])

    def _sign(self, db: Transaction) -> None:
        db.rows(
            "insert into ddx.claim_life values (?, ?, clock_timestamp())"
            " on conflict (life) do update set seen_at = excluded.seen_at",
            self.holder.life,
            self.holder.node,
        )
        db.rows(
            "delete from ddx.claim_life"
            " where seen_at < clock_timestamp() - make_interval(days => 1)"
        )

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            self._connection = psycopg.connect(self._uri, autocommit=True, **_WAITS)  # type: ignore[arg-type]
            self._make()
        return self._connection

    def _lose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _make(self) -> None:
        connection = self._connection
        if connection is None:
            return
        with connection.transaction():
            self.rows("select pg_advisory_xact_lock(?)", _MAKING)
            # Asked first: who may not create anything can use what was made for it.
            if not self.rows("select 1 where to_regclass('ddx.claim_key') is not null"):
                for statement in _SCHEMA.split(";"):
                    self.rows(statement)
            self.rows(
                "insert into ddx.claim_key values (true, ?) on conflict do nothing", self._proof
            )
            (found,) = self.rows("select proof from ddx.claim_key")[0]
        if not hmac.compare_digest(bytes(found), self._proof):
            self._lose()
            raise SettingsError(
                "claims_key_file is another one than that of the processes which share these"
                " claims: give each machine the same file"
            )


def _translated(error: psycopg.Error) -> ClaimsUnavailable:
    # Its text may name the address; its kind is enough.
    return ClaimsUnavailable(f"the claims' database refuses: {type(error).__name__}")
