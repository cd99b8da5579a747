"""`ddx reset`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json, size

if TYPE_CHECKING:
    from ddx.services.reset import Plan


@click.command(
    name="reset",
    epilog=exits.epilog(
        "ddx reset",
        exits.EXIT_NOT_OK,
        exits.EXIT_CODE["bad_settings"],
        exits.EXIT_CODE["files_in_use"],
    ),
)
@click.option("--yes", is_flag=True, help="Do not ask. Needed where nobody can be asked.")
@as_json
def command(*, yes: bool, as_json: bool) -> int:
    """Delete all local data: journals, keys, MLflow's SQLite file and its artifacts.

    Names what will be lost and asks. Stops this installation's own processes, and no other. A
    database or an object store that is not a local file is never touched.
    """
    if not yes and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("nobody can be asked here: add --yes to delete everything")
    from ddx.services.reset import reset
    from ddx.settings import load
    from ddx.wiring.site import LocalSite

    def agrees(plan: Plan) -> bool:
        if not as_json:
            _show(plan)
        return yes or click.confirm("Delete all of it? It cannot be brought back", default=False)

    done = reset(LocalSite(load()), agrees)
    if as_json:
        print_json(
            {
                "deleted": [loss.place for loss in done.deleted] if done else [],
                "stopped": done.stopped if done else [],
            }
        )
    elif done:
        all_gone = "All of it is deleted. `ddx up` starts anew."
        click.echo(all_gone if done.deleted else "There is nothing to delete.")
    return exits.EXIT_OK if done else exits.EXIT_NOT_OK


def _show(plan: Plan) -> None:
    for loss in plan.losses:
        click.echo(f"will be lost: {loss.what}, {size(loss.size_bytes)}, in {loss.place}")
    for name in plan.kept:
        click.echo(f"stays: {name}")
    for name in plan.stops:
        click.echo(f"will be stopped: {name}")
