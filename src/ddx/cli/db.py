"""`ddx db`."""

from __future__ import annotations

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json

_CODE = exits.EXIT_CODE


@click.group(
    name="db",
    epilog=exits.epilog("ddx db status --json\nddx db upgrade"),
)
def command() -> None:
    """Show or upgrade the revision of MLflow's tables."""


@command.command(
    name="status",
    epilog=exits.epilog("ddx db status", exits.EXIT_NOT_OK, _CODE["missing_extra"]),
)
@as_json
def status(*, as_json: bool) -> int:
    """Say which revision MLflow's tables have, and which one the installed MLflow works with."""
    from ddx.settings import load
    from ddx.settings.places import mask_uri
    from ddx.wiring import migrating

    settings = load()
    found, wanted = migrating.status(settings)
    fits = found.revision == wanted
    if as_json:
        print_json(
            {
                "db_uri": mask_uri(settings.db_uri),
                "revision": found.revision,
                "wanted": wanted,
                "trouble": found.trouble,
                "ok": fits,
            }
        )
    elif found.trouble:
        click.echo(f"{mask_uri(settings.db_uri)}: {found.trouble}")
    else:
        click.echo(f"{mask_uri(settings.db_uri)}: revision {found.revision}, MLflow wants {wanted}")
        if not fits:
            click.echo("advice: stop MLflow and the deliverer, then `ddx db upgrade`")
    return exits.EXIT_OK if fits else exits.EXIT_NOT_OK


@command.command(
    name="upgrade",
    epilog=exits.epilog(
        "ddx db upgrade",
        _CODE["missing_extra"],
        _CODE["move_refused"],
        _CODE["output_refused"],
    ),
)
@click.option("--backed-up", is_flag=True, help="There is a dump of a database that is no file.")
@as_json
def upgrade(*, backed_up: bool, as_json: bool) -> int:
    """Bring MLflow's tables to the installed MLflow, after a copy of an SQLite file beside it."""
    from ddx.settings import load
    from ddx.wiring import migrating

    copy = migrating.upgrade(load(), backed_up=backed_up)
    if as_json:
        print_json({"copy": str(copy) if copy else None})
    else:
        click.echo(f"The tables are up to date.{f' The copy from before: {copy}' if copy else ''}")
    return exits.EXIT_OK
