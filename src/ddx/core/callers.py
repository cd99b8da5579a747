"""Who asks, and what they may do.

A caller is named `tenant/key`. That name stands in each record as its `caller`, so a record tells
for ever whose it is, and the tenant's others can see it; nobody else can, but an admin.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_TOKEN = re.compile(r"ddx_([a-z2-7]{12})_([A-Za-z0-9_-]{43})")


class Role(StrEnum):
    """What a caller may do, within its tenant but for the last two."""

    PREDICT = "predict"
    """Ask for differentials, and follow the batches it sent."""
    READ = "read"
    """Read predictions and the dashboard."""
    LABEL = "label"
    """Give feedback."""
    AUDIT = "audit"
    """Read predictions, and who read which."""
    MONITOR = "monitor"
    """Read /metrics, which are of all tenants."""
    ADMIN = "admin"
    """All of that, in every tenant, and MLflow's pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a request."""

    id: str
    """`tenant/key`; the scope of its trackers."""
    roles: frozenset[Role]
    rate_per_minute: float = 0.0
    """Requests it may send; 0: any number."""
    running: int = 0
    """Requests it may have under way at once; 0: any number."""

    @property
    def tenant(self) -> str | None:
        """Its tenant; None where it may see all."""
        return None if Role.ADMIN in self.roles else tenant_of(self.id)

    def may(self, needed: Iterable[Role]) -> bool:
        """Say whether one of the needed roles is among its own; an admin's holds them all."""
        return Role.ADMIN in self.roles or not self.roles.isdisjoint(needed)

    def sees(self, owner: str) -> bool:
        """Say whether it may see what another caller asked.

        >>> nurse = Caller(id="north/k1", roles=frozenset({Role.READ}))
        >>> nurse.sees("north/k2"), nurse.sees("south/k1"), nurse.sees("anonymous")
        (True, False, False)
        """
        return self.tenant is None or self.tenant == tenant_of(owner)


ANYONE = Caller(id="anonymous", roles=frozenset({Role.ADMIN}))
"""Who asks where no key is needed."""


def tenant_of(caller: str) -> str | None:
    """Return the tenant in a caller's name; None where it was asked without a key."""
    head, slash, _ = caller.partition("/")
    return head if slash else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """What is kept of a key's secret: enough to know it again, not enough to say it."""

    salt: str
    hash: str
    """scrypt's, both in hexadecimal digits."""
    until: datetime | None = None
    """When it ends, after a rotation; None: with its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key as it is kept. It is never deleted: old records name it."""

    id: str
    """`tenant/` and twelve characters, which the token holds too."""
    name: str = ""
    """What it is for, in its maker's words."""
    roles: frozenset[Role]
    secrets: tuple[Secret, ...]
    """The newest first. Others are still good until they end."""
    created_at: datetime
    """In UTC, with tzinfo, like the next two."""
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    rate_per_minute: float = 0.0
    running: int = 0

    @property
    def handle(self) -> str:
        """The part of the id that stands in the token."""
        return self.id.rpartition("/")[2]

    def trouble(self, now: datetime) -> str | None:
        """Say why it opens nothing, None where it does."""
        if self.revoked_at is not None:
            return f"The API key {self.id} was revoked."
        if self.expires_at is not None and now >= self.expires_at:
            return f"The API key {self.id} has expired."
        return None

    def good_secrets(self, now: datetime) -> tuple[Secret, ...]:
        """Return the secrets that open it now."""
        return tuple(one for one in self.secrets if one.until is None or now < one.until)

    def rotated(self, secret: Secret, until: datetime) -> ApiKey:
        """Return the key with a new secret; the one before is good until then, older ones end."""
        return replace(self, secrets=(secret, replace(self.secrets[0], until=until)))

    def caller(self) -> Caller:
        """Return who asks with it."""
        return Caller(
            id=self.id,
            roles=self.roles,
            rate_per_minute=self.rate_per_minute,
            running=self.running,
        )


def token(handle: str, secret: str) -> str:
    """Return what a client sends. Its form lets secret scanners find a lost one."""
    return f"ddx_{handle}_{secret}"


def handle_of(given: str) -> str | None:
    """Return the key's handle in a token, None where it has another form."""
    found = _TOKEN.fullmatch(given)
    return found[1] if found else None


@dataclass(slots=True)
class Bucket:
    """How much of its rate a caller has left: full after a minute of silence."""

    left: float
    at_s: float

    def wait_s(self, rate_per_minute: float, now_s: float) -> float:
        """Take one request: 0.0 where there is room, else after how many seconds there is.

        >>> bucket = Bucket(left=1.0, at_s=0.0)
        >>> bucket.wait_s(60, 0.0), bucket.wait_s(60, 0.0), bucket.wait_s(60, 1.0)
        (0.0, 1.0, 0.0)
        """
        per_s = rate_per_minute / 60
        self.left = min(max(1.0, rate_per_minute), self.left + per_s * (now_s - self.at_s))
        self.at_s = now_s
        if self.left < 1.0:
            return (1.0 - self.left) / per_s
        self.left -= 1.0
        return 0.0
