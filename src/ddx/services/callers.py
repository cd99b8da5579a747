"""Know who asks, and hold each to what it may do."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

from ddx.core.callers import ANYONE, ApiKey, Bucket, Caller, Role, Secret, handle_of, tenant_of
from ddx.errors import IssuerUnavailable, NotAllowed, NotIdentified, TooManyRequests
from ddx.ports import Clock, Counts, Issuer, KeyShelf

log = logging.getLogger("ddx")
_LOOK_S = 1.0
"""So often the keys are looked at: a revoked one works no longer than this."""
_TRIES_PER_MINUTE = 240.0
"""Unknown tokens that are held against a hash, of all callers: each costs 40 ms of CPU."""
_REMEMBERED = 10_000
_UNKNOWN = "This API key is not known here."


class OwnCounts:
    """Counts of a server that is one process; see ports.Counts."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}
        self._running: Counter[str] = Counter()

    def enter(self, caller: str, most: int) -> bool:
        """Count one more under way; False where there are as many as may be."""
        if self._running[caller] >= most:
            return False
        self._running[caller] += 1
        return True

    def leave(self, caller: str) -> None:
        """Count one less."""
        self._running[caller] -= 1
        if not self._running[caller]:
            del self._running[caller]

    def wait_s(self, caller: str, rate_per_minute: float, now_s: float) -> float:
        """Take one request of a caller's rate; return 0, or after how long there is one."""
        full = Bucket(left=max(1.0, rate_per_minute), at_s=now_s)
        return self._buckets.setdefault(caller, full).wait_s(rate_per_minute, now_s)


class Callers:
    """Who may come in. Belongs to one event loop."""

    def __init__(
        self,
        *,
        keys: KeyShelf,
        is_secret: Callable[[str, Secret], bool],
        nobody: Secret,
        clock: Clock,
        required: bool = False,
        issuer: Issuer | None = None,
        counts: Counts | None = None,
    ) -> None:
        """The door is closed where `required` is set, an issuer is there, or a key was ever made.

        `is_secret` blocks; `nobody` is what a token of no key is held against.
        """
        self._shelf, self._is_secret, self._nobody = keys, is_secret, nobody
        self._clock, self._required, self._issuer = clock, required, issuer
        self._keys: Mapping[str, ApiKey] = {}
        self._stamp: object = None
        self._was_closed = False
        self._looked_s = -_LOOK_S
        self._known: dict[bytes, tuple[str, str]] = {}
        self._pepper = os.urandom(32)
        self._trying = asyncio.Semaphore(2)
        self._fetch: asyncio.Task[None] | None = None
        self._tries = Bucket(left=_TRIES_PER_MINUTE, at_s=clock.monotonic())
        self._counts = counts or OwnCounts()

    @property
    def closed(self) -> bool:
        """Whether a caller must say who it is. A door that was closed stays so, whatever becomes
        of the keys' file. Raises KeysUnavailable.
        """
        self._look()
        wanted = self._required or self._issuer is not None or bool(self._keys)
        self._was_closed = self._was_closed or wanted
        return self._was_closed

    @property
    def only_tenant(self) -> str | None:
        """The tenant of all keys ever made; None where there are several, or none, or an issuer
        vouches for callers, whose tenants nobody here can count. Raises KeysUnavailable.
        """
        self._look(now=True)
        found = {tenant_of(key.id) for key in self._keys.values()}
        return found.pop() if len(found) == 1 and self._issuer is None else None

    async def identify(self, token: str | None) -> Caller:
        """Return who sends a token.

        Raises NotIdentified, TooManyRequests, KeysUnavailable; of an issuer's token also
        ClaimMissing, IssuerUnavailable.
        """
        if not self.closed:
            return ANYONE
        if token is None:
            raise NotIdentified
        if handle_of(token) is not None:
            return await self._by_key(token)
        found = await self._by_issuer(self._issuer, token) if self._issuer else None
        if found is None:
            raise NotIdentified(_UNKNOWN)
        return found

    @contextmanager
    def inside(self, caller: Caller, needed: Collection[Role]) -> Iterator[None]:
        """Count a request of a caller while it is under way.

        Raises NotAllowed where it has none of the roles, TooManyRequests.
        """
        if not caller.may(needed):
            roles = " or ".join(sorted(role.value for role in needed))
            raise NotAllowed(f"This needs a key with the role {roles}.")
        if not caller.running:
            self._take(caller)
            yield
            return
        if not self._counts.enter(caller.id, caller.running):
            raise TooManyRequests(f"{caller.running} requests of this caller are under way.")
        try:
            self._take(caller)
            yield
        finally:
            self._counts.leave(caller.id)

    def _take(self, caller: Caller) -> None:
        rate = caller.rate_per_minute
        if not rate:
            return
        wait_s = self._counts.wait_s(caller.id, rate, self._clock.monotonic())
        if wait_s:
            raise TooManyRequests(
                f"This caller may send {rate:g} requests a minute.", retry_after_s=wait_s
            )

    # --- an issuer's tokens -------------------------------------------------------------

    async def _by_issuer(self, issuer: Issuer, token: str) -> Caller | None:
        if issuer.lacks(token):
            # However many wait, one thread asks, and it goes on when one of them leaves.
            await asyncio.shield(self._fetching(issuer))
        elif issuer.stale:
            self._fetching(issuer)
        return issuer.caller(token)

    def _fetching(self, issuer: Issuer) -> asyncio.Task[None]:
        if self._fetch is None or self._fetch.done():
            self._fetch = asyncio.create_task(_fetched(issuer))
        return self._fetch

    # --- keys ---------------------------------------------------------------------------

    async def _by_key(self, token: str) -> Caller:
        name = hashlib.blake2b(token.encode(), key=self._pepper).digest()
        known = self._known.get(name)
        if known is None:
            known = await self._tried(token)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[name] = known
        handle, hash = known
        key, now = self._keys.get(handle), self._clock.now()
        if key is None or all(one.hash != hash for one in key.good_secrets(now)):
            # Rotated away, or its file was replaced, since it was last good.
            del self._known[name]
            raise NotIdentified(_UNKNOWN)
        trouble = key.trouble(now)
        if trouble is not None:
            raise NotIdentified(trouble)
        return key.caller()

    async def _tried(self, token: str) -> tuple[str, str]:
        """Hold a token against what is kept of its key; return handle and hash."""
        wait_s = self._tries.wait_s(_TRIES_PER_MINUTE, self._clock.monotonic())
        if wait_s:
            raise TooManyRequests(
                "Too many unknown API keys were tried here.", retry_after_s=wait_s
            )
        # It may have been made a moment ago.
        self._look(now=True)
        handle = handle_of(token) or ""
        key = self._keys.get(handle)
        secrets = key.good_secrets(self._clock.now()) if key else ()
        async with self._trying:
            for secret in secrets or (self._nobody,):
                if await asyncio.to_thread(self._is_secret, token, secret) and key is not None:
                    return handle, secret.hash
        raise NotIdentified(_UNKNOWN)

    def _look(self, *, now: bool = False) -> None:
        now_s = self._clock.monotonic()
        if not now and now_s - self._looked_s < _LOOK_S:
            return
        stamp = self._shelf.stamp()
        if stamp != self._stamp:
            self._keys = {key.handle: key for key in self._shelf.read()}
            self._stamp = stamp
        self._looked_s = now_s


async def _fetched(issuer: Issuer) -> None:
    """Fetch an issuer's keys; that it is away is said when a token is judged."""
    try:
        await asyncio.to_thread(issuer.fetch)
    except IssuerUnavailable as error:
        log.warning("issuer not reached", extra={"event": "issuer_unavailable", "why": str(error)})
