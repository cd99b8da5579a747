"""`ddx backup`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json, size

_CODE = exits.EXIT_CODE


@click.command(
    name="backup",
    epilog=exits.epilog(
        "ddx backup /backups/2026-01-31.tar\nddx backup verify /backups/2026-01-31.tar",
        _CODE["bad_settings"],
        _CODE["missing_extra"],
        _CODE["journal_unavailable"],
        _CODE["bad_backup"],
        _CODE["output_refused"],
        _CODE["move_refused"],
    ),
)
@click.argument("words", metavar="[verify] PATH", nargs=-1, required=True)
@click.option(
    "--keys", type=click.Path(dir_okay=False, path_type=Path), help="Where verify finds the keys."
)
@click.option(
    "--recipient", "to", multiple=True, help="Encrypt to this age recipient, too; repeatable."
)
@click.option(
    "--identity",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With verify: the file that opens an encrypted one.",
)
@as_json
def command(
    *,
    words: tuple[str, ...],
    keys: Path | None,
    to: tuple[str, ...],
    identity: Path | None,
    as_json: bool,
) -> None:
    """Make a backup while everything runs, or check one.

    PATH gets journals, MLflow's database as an SQLite file, and settings; PATH.keys gets the keys
    without which no record can be read: keep the two apart. A name that ends with .gz is
    compressed.
    """
    *verb, name = words
    if verb not in ([], ["verify"]):
        raise click.UsageError("it is `ddx backup PATH`, or `ddx backup verify PATH`")
    path = Path(name)
    if verb:
        _verify(path, keys, identity, as_json=as_json)
        return
    from ddx.core.access import Act
    from ddx.settings import load
    from ddx.wiring.auditing import note_command
    from ddx.wiring.backing_up import back_up

    settings = load()
    note_command(settings, Act.BACKUP, "backup")
    made = back_up(settings, path.absolute(), to)
    if as_json:
        said = asdict(made.manifest) | {"files": len(made.manifest.files)}
        print_json(
            {"ok": True, "path": str(made.path), "keys": str(made.keys), "bytes": made.size_bytes}
            | said
        )
        return
    events = sum(made.manifest.events.values())
    files = len(made.manifest.files)
    click.echo(f"{made.path}: {files} files, {events} events, {size(made.size_bytes)}")
    click.echo(f"{made.keys}: the keys; keep them elsewhere")


def _verify(path: Path, keys: Path | None, identity: Path | None, *, as_json: bool) -> None:
    from ddx.wiring.restoring import check

    whole, secret = check(path, keys, identity)
    files = len(whole.files) + len(secret.files)
    if as_json:
        print_json({"ok": True, "made_at": whole.made_at, "files": files, "events": whole.events})
        return
    click.echo(f"{path}: whole, made {whole.made_at}; {files} files, each as it was put in")
