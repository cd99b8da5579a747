"""`ddx restore`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json

_CODE = exits.EXIT_CODE
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    name="restore",
    epilog=exits.epilog(
        "ddx restore /backups/2026-01-31.tar --into /srv/ddx\n"
        "ddx restore /backups/whole.tar /backups/monday.tar --into /srv/ddx\n"
        "ddx restore /backups/2026-01-31.tar --drill",
        exits.EXIT_NOT_OK,
        _CODE["bad_settings"],
        _CODE["missing_extra"],
        _CODE["bad_backup"],
        _CODE["output_refused"],
        _CODE["master_key_unavailable"],
        _CODE["wrong_master_key"],
    ),
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), help="An empty folder.")
@click.option("--drill", is_flag=True, help="Restore beside, prove it, and clean up.")
@click.option("--keys", help="The newest keys; default: those of the last PATH.")
@click.option("--identity", type=_FILE, help="The file that opens an encrypted backup.")
@click.option(
    "--master-key-file",
    type=_FILE,
    help="The master key that the keys are wrapped under; default: that of the settings here.",
)
@as_json
def command(
    *,
    paths: tuple[str, ...],
    into: Path | None,
    drill: bool,
    keys: str | None,
    identity: Path | None,
    master_key_file: Path | None,
    as_json: bool,
) -> int:
    """Make a whole installation out of a backup, in an empty folder, and verify it.

    PATH is a whole backup, and its increments after it, in order; or the last increment alone,
    with the others beside it. Each can be in an object store: s3://, gs://, wasbs://, abfss://.

    Every file is checked against its digest, each run in MLflow is made whole from the journal,
    and all is compared as `ddx verify` does. Ends with 1 where something differs.
    """
    if (into is None) != drill:
        raise click.UsageError("name the empty folder with --into, or try it with --drill")
    from ddx.settings import load
    from ddx.wiring import backup_ages, restoring, vaults

    here = load()
    if master_key_file:
        here = vaults.with_file(here, master_key_file.absolute())
    if into:
        found = restoring.restore(paths, into.absolute(), keys, identity, here)
    else:
        found = restoring.drill(paths, keys, identity, here)
    if drill and found.ok:
        backup_ages.note_drill()
    if as_json:
        said = asdict(found) | {"home": str(into) if into else None}
        print_json({"ok": found.ok, **said})
    else:
        where = f"{into} holds" if into else "the drill found"
        runs = "each equal to its run" if found.mlflow else "without MLflow's store"
        click.echo(
            f"{where} the backup of {found.made_at}: {found.predictions} predictions, {runs};"
            f" {found.erased} erased, {found.events} events in unbroken chains"
        )
        for line in found.differences:
            click.echo(f"differs: {line}")
        for line in found.missing:
            click.echo(f"in no backup: {line}: put it there before the server starts")
        if into:
            click.echo(f"start it: DDX_HOME={into} ddx up")
    return exits.EXIT_OK if found.ok else exits.EXIT_NOT_OK
