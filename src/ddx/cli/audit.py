"""`ddx audit`: who looked at which prediction."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json, print_table

if TYPE_CHECKING:
    from ddx.core.access import Wanted

_CODE = exits.EXIT_CODE
_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"])


@click.group(
    name="audit",
    invoke_without_command=True,
    epilog=exits.epilog(
        "ddx audit --prediction 01a20801-e9ca-787c-862e-5df01cce0ac4\n"
        "ddx audit --since 2026-01-01 --fhir > looks.json\nddx audit verify",
        exits.EXIT_NOT_OK,
        _CODE["bad_settings"],
        _CODE["bad_checkpoint"],
        _CODE["access_trail_unavailable"],
    ),
)
@click.option("--prediction", help="Looks that showed the prediction of this id.")
@click.option("--caller", help="Looks of this caller, as north/k3v5qy2mzt6a or os:ddx.")
@click.option("--since", type=_TIME, help="On this day or later, as 2026-01-31, in UTC.")
@click.option("--until", type=_TIME, help="Before this day.")
@click.option("--limit", type=click.IntRange(1), default=1_000_000, help="The newest so many.")
@click.option("--fhir", is_flag=True, help="Print a Bundle of AuditEvents of HL7 FHIR R4.")
@as_json
@click.pass_context
def command(
    context: click.Context,
    *,
    prediction: str | None,
    caller: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    fhir: bool,
    as_json: bool,
) -> None:
    """Show who read, listed or exported predictions, newest first.

    `ddx audit verify` walks the trail's chain.
    """
    if context.invoked_subcommand is None:
        from ddx.core.access import Wanted

        wanted = Wanted(
            prediction_id=prediction, caller=caller, since=_utc(since), until=_utc(until)
        )
        _show(wanted, limit, fhir=fhir, as_json=as_json)


@command.command(
    name="verify",
    epilog=exits.epilog(
        "ddx audit verify --json",
        exits.EXIT_NOT_OK,
        _CODE["bad_settings"],
        _CODE["bad_checkpoint"],
        _CODE["access_trail_unavailable"],
    ),
)
@as_json
def verify(*, as_json: bool) -> int:
    """Find every change, removal and reordering in the trail, and a cut end."""
    from ddx.settings import load
    from ddx.wiring.auditing import faults

    lines, found = faults(load())
    if as_json:
        told = [{"line": line, "why": why} for line, why in found]
        print_json({"ok": not found, "looks": lines, "faults": told})
    else:
        for line, why in found:
            click.echo(f"line {line}: {why}")
        click.echo(f"{lines} looks: {len(found) or 'no'} faults")
    return exits.EXIT_NOT_OK if found else exits.EXIT_OK


def _show(wanted: Wanted, limit: int, *, fhir: bool, as_json: bool) -> None:
    from ddx.settings import load
    from ddx.web.audit import bundle, look_form
    from ddx.wiring.auditing import newest

    found = newest(load(), wanted, limit)
    if fhir:
        print_json(bundle(found))
    elif as_json:
        print_json([look_form(one) for one in found])
    else:
        print_table(
            ("at", "caller", "act", "predictions"),
            [(one.at, one.caller, one.act.value, " ".join(one.ids) or one.about) for one in found],
        )


def _utc(time: datetime | None) -> datetime | None:
    from datetime import UTC

    return time if time is None or time.tzinfo else time.replace(tzinfo=UTC)
