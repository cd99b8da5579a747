"""What a token says of its bearer, as a caller. The token itself was checked before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ddx.core.callers import TENANT, Caller, Role
from ddx.errors import ClaimMissing


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRules:
    """Where the claims of one issuer's tokens say what their bearer may do."""

    tenant_claim: str = ""
    """A dotted path; empty: all are of `tenant`."""
    tenant: str = "main"
    tenant_names: Mapping[str, str] = field(default_factory=dict)
    """What the claim says -> tenant; empty: the claim says the tenant itself."""
    roles_claim: str = ""
    """A dotted path to names, as a list or with spaces between; empty: none is looked for."""
    roles_prefix: str = ""
    """Stands before a role: an `admin` of another program must not be one here."""
    role_names: Mapping[str, frozenset[Role]] = field(default_factory=dict)
    """Further names and the roles that each gives."""
    default_roles: frozenset[Role] = frozenset()
    """Of a token whose claim gives none."""
    rate_per_minute: float = 0.0
    running: int = 0

    def caller(self, issuer: str, claims: Mapping[str, Any]) -> Caller:
        """Return who asks. Raises ClaimMissing, naming the claim and not what is in it."""
        return Caller(
            id=f"{self._tenant(claims)}/{subject_name(issuer, claims['sub'])}",
            roles=self._roles(claims),
            rate_per_minute=self.rate_per_minute,
            running=self.running,
        )

    def _tenant(self, claims: Mapping[str, Any]) -> str:
        if not self.tenant_claim:
            return self.tenant
        named = _texts(claim(claims, self.tenant_claim))
        if len(named) != 1:
            raise ClaimMissing(
                f"The token has no tenant: its claim {self.tenant_claim} is not there, or is not"
                " one text."
            )
        found = self.tenant_names.get(named[0]) if self.tenant_names else named[0]
        if found is None or not TENANT.fullmatch(found):
            raise ClaimMissing(
                f"The token has no tenant: its claim {self.tenant_claim} names none of this server."
            )
        return found

    def _roles(self, claims: Mapping[str, Any]) -> frozenset[Role]:
        found: set[Role] = set()
        named = claim(claims, self.roles_claim) if self.roles_claim else None
        for name in _texts(named, split=True):
            found |= self.role_names.get(name, frozenset())
            if name.startswith(self.roles_prefix):
                found |= _role(name.removeprefix(self.roles_prefix))
        if not (found or self.default_roles):
            raise ClaimMissing(
                f"The token has no role: its claim {self.roles_claim} is not there, or names none"
                " of this server."
            )
        return frozenset(found or self.default_roles)


def subject_name(issuer: str, subject: str) -> str:
    """Return the name, within a tenant, of whom an issuer calls `subject`.

    It stands in records for ever, so it is not the subject itself, which may be a person's name.
    No key is in it: who has the issuer's list of subjects can tell whose look an audit shows.

    >>> subject_name("https://login.example.org", "4711")
    'oidc-55af47b4b277db26694cbc55f054e2e2'
    """
    digest = hashlib.sha256(f"{issuer}\n{subject}".encode(errors="surrogatepass")).hexdigest()
    return f"oidc-{digest[:32]}"


def claim(claims: Mapping[str, Any], path: str) -> Any:
    """Return what stands at a path of names with dots between; None where nothing does.

    A claim whose own name has dots goes before.

    >>> claim({"realm_access": {"roles": ["ddx-read"]}}, "realm_access.roles")
    ['ddx-read']
    >>> claim({"https://ddx.example.org/tenant": "north"}, "https://ddx.example.org/tenant")
    'north'
    """
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _texts(value: Any, *, split: bool = False) -> list[str]:
    """Return a text, or a list of them, as a list; what is neither is left out."""
    if isinstance(value, str):
        return value.split() if split else [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _role(name: str) -> frozenset[Role]:
    try:
        return frozenset({Role(name)})
    except ValueError:
        return frozenset()
