"""The settings of an issuer of tokens, checked, and as rules for its claims."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ddx.core.callers import TENANT, Role
from ddx.core.token_claims import ClaimRules
from ddx.errors import SettingsError
from ddx.settings.words import nearest

if TYPE_CHECKING:
    from ddx.settings.values import Settings

_HERE = ("127.0.0.1", "localhost", "::1")


def check(settings: Settings) -> None:
    """Refuse what cannot work. Raises SettingsError."""
    if not settings.oidc_issuer:
        for one in fields(settings):
            if one.name.startswith("oidc_") and getattr(settings, one.name) != one.default:
                raise SettingsError(f"{one.name} needs oidc_issuer")
        return
    _check_address(settings.oidc_issuer)
    if not settings.oidc_audience:
        raise SettingsError(
            "oidc_issuer needs oidc_audience: else a token for any other program would open this"
        )
    if settings.oidc_ca_file and not (settings.home / settings.oidc_ca_file).is_file():
        raise SettingsError(f"oidc_ca_file: there is no file {settings.oidc_ca_file}")
    if not (settings.oidc_roles_claim or settings.oidc_default_roles):
        raise SettingsError(
            "oidc_issuer needs oidc_roles_claim or oidc_default_roles: no token would open anything"
        )
    if settings.oidc_tenant_names and not settings.oidc_tenant_claim:
        raise SettingsError("oidc_tenant_names needs oidc_tenant_claim")
    claim_rules(settings)


def claim_rules(settings: Settings) -> ClaimRules:
    """Return how the claims of a token are read. Raises SettingsError."""
    names = dict(_pairs("oidc_tenant_names", settings.oidc_tenant_names))
    for tenant in (settings.oidc_tenant, *names.values()):
        if not TENANT.fullmatch(tenant):
            raise SettingsError(
                f"oidc_tenant, oidc_tenant_names: {tenant!r} is no tenant (40 of a-z, 0-9, -)"
            )
    roles: dict[str, frozenset[Role]] = {}
    for name, role in _pairs("oidc_role_names", settings.oidc_role_names):
        roles[name] = roles.get(name, frozenset()) | {_role("oidc_role_names", role)}
    given = settings.oidc_default_roles.split(",") if settings.oidc_default_roles else []
    default = frozenset(_role("oidc_default_roles", one.strip()) for one in given)
    if Role.ADMIN in default:
        raise SettingsError("oidc_default_roles must not hold admin: every token would be one")
    return ClaimRules(
        tenant_claim=settings.oidc_tenant_claim,
        tenant=settings.oidc_tenant,
        tenant_names=names,
        roles_claim=settings.oidc_roles_claim,
        roles_prefix=settings.oidc_roles_prefix,
        role_names=roles,
        default_roles=default,
        rate_per_minute=settings.oidc_rate_per_minute,
        running=settings.oidc_running,
    )


def _check_address(issuer: str) -> None:
    try:
        parts = urlsplit(issuer)
        parts.port  # noqa: B018  (raises where it is none)
    except ValueError as error:
        raise SettingsError("oidc_issuer is no address") from error
    plain = parts.scheme == "http" and parts.hostname in _HERE
    if not parts.hostname or not (parts.scheme == "https" or plain):
        raise SettingsError("oidc_issuer must be an https address, as the tokens' claim iss has it")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise SettingsError("oidc_issuer must be an address without user, query or fragment")
    if issuer.endswith("/.well-known/openid-configuration"):
        raise SettingsError("oidc_issuer is the address before /.well-known/openid-configuration")


def _pairs(setting: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs of `a=b, c=d`; a name may have spaces and = in it."""
    for one in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (part.strip() for part in one.rpartition("="))
        if not (name and equals and value):
            raise SettingsError(f"{setting} must be pairs, as name=value, name=value")
        yield name, value


def _role(setting: str, name: str) -> Role:
    known = {role.value: role for role in Role}
    if name not in known:
        raise SettingsError(f"{setting}: {name!r} is no role{nearest(name, known)}")
    return known[name]
