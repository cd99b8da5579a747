"""`ddx retain`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ddx.cli import exits
from ddx.cli.erase import carry_out
from ddx.cli.output import as_json, print_json, print_table

_CODE = exits.EXIT_CODE


@click.command(
    name="retain",
    epilog=exits.epilog(
        "ddx retain --days 2190 --dry-run\nddx retain --days 2190 --yes --out certificate.json",
        exits.EXIT_NOT_OK,
        _CODE["bad_settings"],
        _CODE["master_key_unavailable"],
        _CODE["wrong_master_key"],
        _CODE["missing_extra"],
        _CODE["journal_unavailable"],
        _CODE["output_refused"],
    ),
)
@click.option("--days", type=click.IntRange(1, 100_000), required=True, help="How long to keep.")
@click.option("--dry-run", is_flag=True, help="Say what would be erased, and erase nothing.")
@click.option("--yes", is_flag=True, help="Do not ask. Needed where nobody can be asked.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the certificate into a new file.",
)
@as_json
def command(*, days: int, dry_run: bool, yes: bool, out: Path | None, as_json: bool) -> int:
    """Erase for ever what is older than so many days, as `ddx erase` does.

    What the file of the setting legal_hold names, by id or tracker, stays.
    """
    if not (yes or dry_run) and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("nobody can be asked here: add --yes to erase for ever")
    from ddx.settings import load
    from ddx.wiring import erasing

    settings = load()
    found, held = erasing.old(settings, days)
    if dry_run and as_json:
        print_json({"would_erase": [one.id for one in found], "on_hold": held})
    if not as_json:
        print_table(("prediction", "why"), [(one.id, one.why) for one in found])
        click.echo(f"{len(found)} are older than {days} days; {held} more are on hold")
    if dry_run or not found:
        if as_json and not dry_run:
            print_json({"erased": [], "remains": [], "whole": True})
        return exits.EXIT_OK
    if not yes and not click.confirm(f"Erase {len(found)} for ever?", default=False):
        return exits.EXIT_NOT_OK
    return carry_out(settings, found, out, as_json=as_json)
