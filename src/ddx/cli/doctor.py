"""`ddx doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json

if TYPE_CHECKING:
    from ddx.ports import Check


@click.command(
    name="doctor",
    epilog=exits.epilog("ddx doctor --json", exits.EXIT_NOT_OK, exits.EXIT_CODE["bad_settings"]),
)
@click.option(
    "--all",
    "all_of_it",
    is_flag=True,
    help="Doors, certificate, clock, backups; a small file into the artifact store and out, or a"
    " small run where MLflow is somebody else's.",
)
@as_json
def command(*, all_of_it: bool, as_json: bool) -> int:
    """Look at everything this installation needs, and say what to do. Changes nothing."""
    from ddx.services.doctor import examine
    from ddx.settings import load
    from ddx.wiring.looks import looks
    from ddx.wiring.looks_all import all_looks

    settings = load()
    checks = examine(looks(settings) | (all_looks(settings) if all_of_it else {}))
    ok = all(check.ok for check in checks)
    if as_json:
        shown = [
            {
                "name": check.name,
                "ok": check.ok,
                "found": check.found,
                "advice": check.advice if check.warns or not check.ok else None,
                "warns": check.warns,
                "detail": dict(check.detail),
            }
            for check in checks
        ]
        print_json({"ok": ok, "checks": shown})
        return exits.EXIT_OK if ok else exits.EXIT_NOT_OK
    width = max(len(check.name) for check in checks)
    for check in checks:
        click.echo(f"{_mark(check):<7} {check.name:<{width}}  {check.found}")
        if check.warns or not check.ok:
            click.echo(f"{'':<7} {'':<{width}}  -> {check.advice}")
    return exits.EXIT_OK if ok else exits.EXIT_NOT_OK


def _mark(check: Check) -> str:
    if not check.ok:
        return "NOT OK"
    return "warn" if check.warns else "ok"
