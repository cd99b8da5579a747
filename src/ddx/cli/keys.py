"""`ddx keys`: who may ask this server, and for what."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from ddx.cli import exits, master_keys
from ddx.cli.output import as_json, print_json, print_table
from ddx.core.callers import TENANT, Role

if TYPE_CHECKING:
    from ddx.core.callers import ApiKey

_CODES = (exits.EXIT_CODE["bad_settings"], exits.EXIT_CODE["keys_unavailable"])
_NAMED = (*_CODES, exits.EXIT_CODE["unknown_key"])
_SPAN = re.compile(r"(\d{1,5})([hd])")


@click.group(
    name="keys",
    epilog=exits.epilog(
        "ddx keys create --role predict --role label --tenant north --name middleware\n"
        "ddx keys list --json",
        *_CODES,
    ),
)
def command() -> None:
    """Make, list, rotate and revoke API keys; wrap the records' keys (`master`).

    With the first API key that is made, every request needs one; the probes and /docs do not.
    """


command.add_command(master_keys.command)


def _span(_context: click.Context, _option: click.Parameter, text: str | None) -> timedelta | None:
    if text is None:
        return None
    found = _SPAN.fullmatch(text)
    if found is None:
        raise click.BadParameter("must be hours or days, as 12h or 90d")
    return timedelta(**{{"h": "hours", "d": "days"}[found[2]]: int(found[1])})


def _tenant(_context: click.Context, _option: click.Parameter, text: str) -> str:
    if not TENANT.fullmatch(text):
        raise click.BadParameter("must be small letters, digits and -, at most 40 of them")
    return text


@command.command(
    name="create",
    epilog=exits.epilog(
        "ddx keys create --role predict --tenant north --expires 365d --rate 600", *_CODES
    ),
)
@click.option(
    "--role",
    "roles",
    type=click.Choice([role.value for role in Role]),
    multiple=True,
    required=True,
    help="What it may do; can be given again.",
)
@click.option(
    "--tenant",
    default="main",
    callback=_tenant,
    show_default=True,
    help="Whose it is: the keys of one tenant see the same predictions, and no others.",
)
@click.option("--name", default="", help="What it is for, for your own list.")
@click.option("--expires", callback=_span, help="After how long it ends, as 90d. Default: never.")
@click.option(
    "--rate",
    type=click.FloatRange(0, 1e6),
    default=0.0,
    help="Requests a minute that it may send. Default: any number.",
)
@click.option(
    "--running",
    type=click.IntRange(0, 100_000),
    default=0,
    help="Requests that it may have under way at once. Default: any number.",
)
@as_json
def create(
    roles: tuple[str, ...],
    tenant: str,
    name: str,
    expires: timedelta | None,
    rate: float,
    running: int,
    *,
    as_json: bool,
) -> None:
    """Make a key, and show it once: only a hash of it is kept."""
    from ddx.settings import load
    from ddx.wiring import callers

    token, made = callers.create(
        load(),
        tenant=tenant,
        name=name,
        roles=frozenset(Role(role) for role in roles),
        expires_at=datetime.now(UTC) + expires if expires else None,
        rate_per_minute=rate,
        running=running,
    )
    _show_once(token, made, as_json=as_json)


@command.command(name="list", epilog=exits.epilog("ddx keys list --json", *_CODES))
@as_json
def show(*, as_json: bool) -> None:
    """List the keys, also those that have ended: records name them."""
    from ddx.settings import load
    from ddx.wiring import callers

    found = callers.listed(load())
    if as_json:
        print_json([_form(key) for key in found])
        return
    print_table(
        ("id", "roles", "name", "made", "state"),
        [
            (
                key.id,
                " ".join(sorted(key.roles)),
                key.name,
                f"{key.created_at:%Y-%m-%d}",
                _state(key),
            )
            for key in found
        ],
    )
    if not found:
        click.echo("No key was made: who reaches the server may ask it anything.")


@command.command(name="revoke", epilog=exits.epilog("ddx keys revoke north/k3v5qy2mzt6a", *_NAMED))
@click.argument("id")
@as_json
def revoke(id: str, *, as_json: bool) -> None:
    """End the key ID for good. A running server refuses it within a second."""
    from ddx.settings import load
    from ddx.wiring import callers

    ended = callers.revoke(load(), id)
    if as_json:
        print_json(_form(ended))
    else:
        click.echo(f"{ended.id} is revoked")


@command.command(
    name="rotate", epilog=exits.epilog("ddx keys rotate north/k3v5qy2mzt6a --grace 24h", *_NAMED)
)
@click.argument("id")
@click.option(
    "--grace",
    callback=_span,
    default="24h",
    show_default=True,
    help="How long the old token is still good; 0h: it ends at once.",
)
@as_json
def rotate(id: str, grace: timedelta, *, as_json: bool) -> None:
    """Give the key ID a new token, shown once. Its trackers and its records stay its own."""
    from ddx.settings import load
    from ddx.wiring import callers

    token, changed = callers.rotate(load(), id, grace)
    _show_once(token, changed, as_json=as_json)


def _show_once(token: str, key: ApiKey, *, as_json: bool) -> None:
    if as_json:
        print_json({**_form(key), "token": token})
        return
    click.echo(token)
    click.echo(
        f"{key.id}: {' '.join(sorted(key.roles))}. It is shown this once.\n"
        "Send it as `Authorization: Bearer …`; in a browser it is the password.",
        err=True,
    )


def _form(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "roles": sorted(key.roles),
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
        "rate_per_minute": key.rate_per_minute,
        "running": key.running,
        "state": _state(key),
    }


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.trouble(datetime.now(UTC)) else "good"
