"""Who may come in, from the settings; and the keys that the command line makes."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ddx.adapters import api_keys
from ddx.adapters.api_keys import ApiKeyFile
from ddx.adapters.http_probe import is_everywhere
from ddx.adapters.system import SystemClock
from ddx.core.callers import ApiKey, Role
from ddx.errors import MissingExtra, SettingsError, UnknownKey, UnsafeAddress
from ddx.ports import Counts
from ddx.services.callers import Callers
from ddx.settings import Settings
from ddx.settings.oidc import claim_rules

if TYPE_CHECKING:
    from ddx.adapters.oidc import OidcIssuer


def callers(settings: Settings, *, shared: bool = False) -> Callers:
    """Return what knows who may come in. `shared`: other processes let the same callers in.

    Raises MissingExtra, SettingsError.
    """
    counts: Counts | None = None
    if shared:
        from ddx.adapters.shared_limits import SharedLimits

        counts = SharedLimits(settings.data, settings.instance)
        counts.forget()
    return Callers(
        keys=ApiKeyFile(settings.data),
        is_secret=api_keys.is_secret,
        nobody=api_keys.NOBODY,
        clock=SystemClock(),
        required=settings.require_api_keys,
        counts=counts,
        issuer=issuer(settings),
    )


def issuer(settings: Settings) -> OidcIssuer | None:
    """Return who vouches for callers by tokens, None where nobody does. Nothing is asked yet.

    Raises MissingExtra, SettingsError.
    """
    if not settings.oidc_issuer:
        return None
    try:
        from ddx.adapters.oidc import OidcIssuer, trusting
    except ModuleNotFoundError as error:
        raise MissingExtra("Tokens need PyJWT: pip install 'ddx-server[oidc]'") from error
    return OidcIssuer(
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        rules=claim_rules(settings),
        context=trusting(settings.home / settings.oidc_ca_file if settings.oidc_ca_file else None),
        clock=SystemClock(),
    )


def means_to_be_closed(settings: Settings) -> bool:
    """Say whether callers must say who they are. Raises KeysUnavailable."""
    return settings.require_api_keys or bool(settings.oidc_issuer) or any_key(settings)


def check_address(settings: Settings) -> None:
    """Refuse to be reached from other machines without keys, or an issuer of tokens, and TLS.

    Raises UnsafeAddress, saying what is missing, and KeysUnavailable.
    """
    if is_loopback(settings.host):
        return
    missing = []
    if not means_to_be_closed(settings):
        missing.append("API keys (or oidc_issuer)")
    if not (settings.tls_cert_file or settings.behind_proxy):
        missing.append("TLS")
    if missing:
        raise UnsafeAddress(
            f"The server will not listen on {settings.host} without {' and '.join(missing)}."
        )


def check_mlflow_address(settings: Settings) -> None:
    """Refuse to start an MLflow that others reach without a login, or cannot reach.

    Raises UnsafeAddress, SettingsError.
    """
    if is_loopback(settings.mlflow_host) or settings.tracking_uri:
        return
    tls = settings.mlflow_tls_cert_file or settings.behind_proxy
    if not (settings.mlflow_secure and tls):
        raise UnsafeAddress(
            f"MLflow will not listen on {settings.mlflow_host}: its pages are at /mlflow/ of this"
            " server, behind its keys. Or set mlflow_secure, and mlflow_tls_cert_file with its key,"
            " or behind_proxy."
        )
    if is_everywhere(settings.mlflow_host) and not settings.mlflow_public_url:
        raise SettingsError(
            f"mlflow_host is {settings.mlflow_host}, and MLflow answers only under names that it"
            " was told: set mlflow_public_url to the address that people type"
        )


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches an address.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "ddx.lan")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# --- what `ddx keys` does ---------------------------------------------------------------


def listed(settings: Settings) -> Sequence[ApiKey]:
    """Return the keys, oldest first. Raises KeysUnavailable."""
    return ApiKeyFile(settings.data).read()


def any_key(settings: Settings) -> bool:
    """Whether a key was ever made, which closes the server's door."""
    return bool(listed(settings))


def create(
    settings: Settings,
    *,
    tenant: str,
    name: str,
    roles: frozenset[Role],
    expires_at: datetime | None,
    rate_per_minute: float,
    running: int,
) -> tuple[str, ApiKey]:
    """Make a key; return its token, which nothing keeps, and what is kept."""
    handle = api_keys.new_handle()
    token, secret = api_keys.new_secret(handle)
    made = ApiKey(
        id=f"{tenant}/{handle}",
        name=name,
        roles=roles,
        secrets=(secret,),
        created_at=SystemClock().now(),
        expires_at=expires_at,
        rate_per_minute=rate_per_minute,
        running=running,
    )
    ApiKeyFile(settings.data).change(lambda keys: [*keys, made])
    return token, made


def revoke(settings: Settings, id: str) -> ApiKey:
    """End a key for good. Raises UnknownKey."""
    now = SystemClock().now()
    return _changed(settings, id, lambda key: replace(key, revoked_at=key.revoked_at or now))


def rotate(settings: Settings, id: str, grace: timedelta) -> tuple[str, ApiKey]:
    """Give a key a new token; the one before is good for so long. Raises UnknownKey."""
    until = SystemClock().now() + grace
    found = _named(listed(settings), id)
    token, secret = api_keys.new_secret(found.handle)
    return token, _changed(settings, id, lambda key: key.rotated(secret, until))


def _changed(settings: Settings, id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
    def made(keys: Sequence[ApiKey]) -> Sequence[ApiKey]:
        old = _named(keys, id)
        return [change(key) if key is old else key for key in keys]

    shelf = ApiKeyFile(settings.data)
    shelf.change(made)
    return _named(shelf.read(), id)


def _named(keys: Sequence[ApiKey], id: str) -> ApiKey:
    """Return the key of an id, or of its last part. Raises UnknownKey."""
    for key in keys:
        if id in (key.id, key.handle):
            return key
    raise UnknownKey(f"There is no API key {id!r}.")


def client_key(settings: Settings) -> str | None:
    """Return the API key that commands send to a server. Raises SettingsError."""
    if not settings.client_key_file:
        return None
    try:
        return (settings.home / settings.client_key_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"client_key_file: {settings.client_key_file} cannot be read"
        ) from error
