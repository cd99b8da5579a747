"""What the server processes of a deployment share: claims of trackers, records, feedback."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from ddx.adapters import siblings
from ddx.adapters.sqlite_journal import OldClaims, SqliteJournal, shared_secret, writer_of
from ddx.core.codec import decode, encode
from ddx.core.feedback import Feedback
from ddx.core.record import Prediction, PredictionId
from ddx.errors import (
    Erased,
    JournalInUse,
    JournalUnavailable,
    MissingExtra,
    PredictionNotFound,
    SettingsError,
)
from ddx.ports import Claim, Claims, Held, Holder, Vault
from ddx.services.feedback import give
from ddx.services.predict import Elsewhere
from ddx.services.records import Records
from ddx.settings import Settings
from ddx.wiring.vaults import vault

CLAIMS = "claims.db"
_NODE = "node"
_BUSY_S = 3.0
"""So long a command or an adoption may hold a journal that we only want to add a word to."""


def new_life() -> str:
    """Return what tells this process from each other that has its name."""
    return secrets.token_hex(8)


def claims(settings: Settings, instance: str, life: str) -> Claims | None:
    """Return the claims that all processes share; None where a lone one keeps its own, in its
    journal. Once there was more than one, they stay shared.

    Raises ClaimsUnavailable, MissingExtra, SettingsError.
    """
    data, file = settings.data, settings.data / CLAIMS
    if settings.journal == "memory":
        return None
    if not settings.claims_uri and settings.workers == 1 and not file.exists():
        return None
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    (data / "keys").mkdir(mode=0o700, exist_ok=True)
    keys = vault(settings)
    own = shared_secret(data / "keys" / "claims.key", keys)
    holder = Holder(node=_node(data), instance=instance, life=life)
    before = OldClaims(data, keys)
    if settings.claims_uri:
        return _postgres(settings, holder, own, before)
    from ddx.adapters.claims import SqliteClaims

    return SqliteClaims(file, holder, own, before)


def _postgres(
    settings: Settings, holder: Holder, own: bytes, before: Callable[[Claim], Held | None]
) -> Claims:
    try:
        from ddx.adapters.claims.postgres import PostgresClaims
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "claims_uri needs psycopg: pip install 'ddx-server[postgres]'"
        ) from error
    secret = own
    if settings.claims_key_file:
        secret = (settings.home / settings.claims_key_file).read_bytes()
    if len(secret) < 32:
        raise SettingsError("claims_key_file must hold at least 32 random bytes")
    file = settings.data / CLAIMS
    if file.exists():
        # This machine had workers before it had neighbours.
        from ddx.adapters.claims import SqliteClaims

        local = SqliteClaims(file, holder, own, before)
        return PostgresClaims(
            settings.claims_uri, holder, secret, lambda claim: local.look(claim).result()
        )
    return PostgresClaims(settings.claims_uri, holder, secret, before)


def _node(data: Path) -> str:
    """Return the name of a data folder, which no other one has. It is no secret."""
    path = data / "keys" / _NODE
    return shared_secret(path).hex()[:32]


class Siblings:
    """The other processes of this data folder; see services.predict.Neighbours."""

    def __init__(self, data: Path, records: Records, vault: Vault | None = None) -> None:
        self._data, self._records, self._vault = data, records, vault

    def alive(self, holder: Holder) -> bool:
        """Whether this very process still writes its journal. Blocks."""
        found = writer_of(self._data, holder.instance) if holder.instance else None
        return found is not None and holder.life in ("", found[1])

    def find(self, id: PredictionId, instance: str) -> Prediction | None:
        """Return a record of any journal here. Blocks. Raises Erased."""
        return self._records.find(id, instance)

    async def until_ended(self, holder: Holder, id: PredictionId) -> bool:
        """Return when it is not under way there any more; at once, and False, where nobody
        answers.
        """
        try:
            await siblings.ask(self._data, holder.instance, {"ask": "until_ended", "id": id})
        except siblings.SiblingAway:
            return False
        return True

    async def give_feedback(
        self, instance: str, id: PredictionId, said: Feedback
    ) -> Sequence[Feedback]:
        """Keep what is said of a record of another journal, in that journal: by its writer where
        there is one, else by us.

        Raises PredictionNotFound, Erased, JournalUnavailable.
        """
        give_up_at = time.monotonic() + _BUSY_S
        while True:
            try:
                return await self._told(instance, id, said)
            except (siblings.SiblingAway, JournalInUse):
                if time.monotonic() > give_up_at:
                    raise JournalUnavailable("the journal of this prediction is busy") from None
                await asyncio.sleep(0.1)

    async def _told(self, instance: str, id: PredictionId, said: Feedback) -> Sequence[Feedback]:
        if await asyncio.to_thread(writer_of, self._data, instance) is None:
            journal = await asyncio.to_thread(SqliteJournal, self._data, instance, self._vault)
            try:
                return await give(journal, id, said)
            finally:
                await asyncio.to_thread(journal.close)
        question = {"ask": "feedback", "id": id, "said": encode(said)}
        answer = await siblings.ask(self._data, instance, question)
        match answer.get("error"):
            case None:
                return [decode(line, Feedback) for line in answer["said"]]
            case "not_found":
                raise PredictionNotFound
            case "erased":
                raise Erased
            case _:
                raise JournalUnavailable("the journal of this prediction takes nothing now")


def elsewhere(neighbours: Siblings, claims: Claims) -> Elsewhere:
    """Return what follows predictions of other processes."""
    return Elsewhere(neighbours, claims.holder.node, time.monotonic)


def adopt(settings: Settings, instance: str) -> int:
    """Close what a process that is dead left in its journal; return how many predictions.

    Raises JournalInUse, JournalUnavailable.
    """
    from ddx.services.recover import close_unfinished

    with closing(SqliteJournal(settings.data, instance, vault(settings))) as journal:
        return close_unfinished(journal)


def forget(settings: Settings, id: PredictionId) -> None:
    """Destroy what the claims keep of an erased prediction's answer. Raises ClaimsUnavailable."""
    if settings.claims_uri:
        kept = claims(settings, "erase", new_life())
        if kept is not None:
            with closing(kept):
                kept.forget(id)


def shared_out(settings: Settings, among: int) -> Settings:
    """Return the settings of one of several workers: each has its part of what is limited."""

    def part(whole: int) -> int:
        return max(1, whole // among)

    models = {
        name: replace(model, max_concurrency=part(model.max_concurrency))
        if model.max_concurrency
        else model
        for name, model in settings.models.items()
    }
    return replace(
        settings,
        max_running=part(settings.max_running),
        max_batches=part(settings.max_batches),
        batch_running=part(settings.batch_running),
        engine_threads=part(settings.engine_threads),
        models=models,
    )
