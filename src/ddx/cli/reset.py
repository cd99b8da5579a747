"""`ddx reset`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json, size

if TYPE_CHECKING:
    from ddx.services.reset import Plan
    from ddx.settings import Settings

_NONE = "no"


@click.command(
    name="reset",
    epilog=exits.epilog(
        "ddx reset\nddx reset --yes --backup /backups/last.tar",
        exits.EXIT_NOT_OK,
        exits.EXIT_CODE["bad_settings"],
        exits.EXIT_CODE["files_in_use"],
        exits.EXIT_CODE["output_refused"],
    ),
)
@click.option("--yes", is_flag=True, help="Do not ask. Needed where nobody can be asked.")
@click.option("--backup", metavar="PATH", help="Make this backup first, as `ddx backup` does.")
@as_json
def command(*, yes: bool, backup: str | None, as_json: bool) -> int:
    """Delete all local data: journals, keys, MLflow's SQLite file and its artifacts.

    Names what will be lost, offers a backup, and asks. Stops this installation's own processes, and
    no other. A database or an object store that is not a local file is never touched.
    """
    if not yes and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("nobody can be asked here: add --yes to delete everything")
    from ddx.services.reset import reset
    from ddx.settings import load
    from ddx.wiring.site import LocalSite

    settings = load()
    wanted = [backup] if backup else []

    def agrees(plan: Plan) -> bool:
        if not as_json:
            _show(plan)
        if yes:
            return True
        if not wanted:
            wanted.extend(_asked(settings))
        return click.confirm("Delete all of it? It cannot be brought back", default=False)

    def save() -> None:
        for path in wanted:
            _back_up(settings, path, say=not as_json)

    done = reset(LocalSite(settings), agrees, save)
    deleted = done.deleted if done else []
    if as_json:
        print_json(
            {
                "deleted": [loss.place for loss in deleted],
                "stopped": done.stopped if done else [],
                "backup": wanted[0] if wanted and deleted else None,
            }
        )
    elif done:
        all_gone = "All of it is deleted. `ddx up` starts anew."
        click.echo(all_gone if deleted else "There is nothing to delete.")
    return exits.EXIT_OK if done else exits.EXIT_NOT_OK


def _asked(settings: Settings) -> list[str]:
    """Offer a backup; return where it is to be."""
    name = f"ddx-backup-{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}.tar"
    said = click.prompt(
        f"Back it up first? Where to, or `{_NONE}`", default=str(settings.home / name)
    ).strip()
    return [] if said.lower() in (_NONE, "n") else [said]


def _back_up(settings: Settings, path: str, *, say: bool) -> None:
    from ddx.core.access import Act
    from ddx.errors import OutputRefused
    from ddx.wiring.auditing import note_command
    from ddx.wiring.backing_up import back_up

    if "://" not in path and Path(path).resolve().is_relative_to(settings.data.resolve()):
        raise OutputRefused(f"{path} is in the folder that is deleted")
    note_command(settings, Act.BACKUP, "reset")
    made = back_up(settings, path)
    if say:
        click.echo(f"backed up: {made.path}, and its keys: {made.keys}")


def _show(plan: Plan) -> None:
    for loss in plan.losses:
        click.echo(f"will be lost: {loss.what}, {size(loss.size_bytes)}, in {loss.place}")
    for name in plan.kept:
        click.echo(f"stays: {name}")
    for name in plan.stops:
        click.echo(f"will be stopped: {name}")
