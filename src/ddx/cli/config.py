"""`ddx config`."""

from __future__ import annotations

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json, print_table


@click.command(
    name="config",
    epilog=exits.epilog("DDX_PORT=8001 ddx config", exits.EXIT_CODE["bad_settings"]),
)
@as_json
def command(*, as_json: bool) -> None:
    """Show the settings in force and where each comes from. Secrets are masked."""
    from ddx.settings import load

    settings = load()
    rows = settings.shown()
    if as_json:
        found = [{"name": n, "value": v, "origin": origin} for n, v, origin in rows]
        print_json({"home": str(settings.home), "settings": found})
        return
    print_table(("name", "value", "origin"), rows)
    click.echo(f"\nRelative paths start at {settings.home}")
