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
        "ddx backup /backups/2026-01-31.tar\n"
        "ddx backup /backups/2026-02-01.tar --since /backups/2026-01-31.tar\n"
        "ddx backup s3://bucket/2026-01-31.tar --keys-to /keys/\n"
        "ddx backup verify /backups/2026-02-01.tar",
        _CODE["bad_settings"],
        _CODE["missing_extra"],
        _CODE["journal_unavailable"],
        _CODE["bad_backup"],
        _CODE["output_refused"],
        _CODE["move_refused"],
        _CODE["mlflow_unavailable"],
    ),
)
@click.argument("words", metavar="[verify] PATH...", nargs=-1, required=True)
@click.option(
    "--since",
    metavar="PREVIOUS",
    help="An increment: what came after this backup, or after the `latest` made here.",
)
@click.option("--keys-to", help="Another file, or folder, for the keys; default: PATH.keys.")
@click.option("--keys", help="With verify: where the newest keys are.")
@click.option(
    "--recipient", "to", multiple=True, help="Encrypt to this age recipient, too; repeatable."
)
@click.option(
    "--identity",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With verify and --since: the file that opens an encrypted one.",
)
@as_json
def command(
    *,
    words: tuple[str, ...],
    since: str | None,
    keys_to: str | None,
    keys: str | None,
    to: tuple[str, ...],
    identity: Path | None,
    as_json: bool,
) -> None:
    """Make a backup while everything runs, or check one.

    PATH gets journals, MLflow's database as an SQLite file, and settings; PATH.keys gets the keys
    without which no record can be read: keep the two apart. A name that ends with .gz is
    compressed. PATH can be in an object store: s3://, gs://, wasbs://, abfss://. Verify takes a
    whole backup and its increments in order, or the last alone, with the others beside it.
    """
    if words[0] == "verify" and len(words) > 1:
        _verify(words[1:], keys, identity, as_json=as_json)
        return
    if len(words) > 1 or words == ("verify",):
        raise click.UsageError("it is `ddx backup PATH`, or `ddx backup verify PATH...`")
    from ddx.adapters.system import yield_to_others
    from ddx.core.access import Act
    from ddx.settings import load
    from ddx.wiring.auditing import note_command
    from ddx.wiring.backing_up import back_up

    settings = load()
    note_command(settings, Act.BACKUP, "backup")
    # A request that waits for its answer comes before a backup.
    yield_to_others()
    made = back_up(settings, words[0], to, keys_to=keys_to, since=since, identity=identity)
    manifest = made.manifest
    if as_json:
        print_json(
            {
                "ok": True,
                "path": made.path,
                "keys": made.keys,
                "bytes": made.size_bytes,
                "made_at": manifest.made_at,
                "version": manifest.version,
                "files": len(manifest.files),
                "events": manifest.events,
                "artifacts_path": manifest.artifacts_path,
                "chain": [asdict(one) for one in manifest.chain],
            }
        )
        return
    events = sum(manifest.events.values())
    what = f"what came after {manifest.chain[-1].name}" if manifest.chain else "whole"
    click.echo(
        f"{made.path}: {what}; {len(manifest.files)} files, up to {events} events,"
        f" {size(made.size_bytes)}"
    )
    click.echo(f"{made.keys}: the keys; keep them elsewhere")


def _verify(
    named: tuple[str, ...], keys: str | None, identity: Path | None, *, as_json: bool
) -> None:
    from ddx.wiring.restoring import check

    chain, secret = check(named, keys, identity)
    newest = chain.newest.manifest
    files = sum(len(one.manifest.files) for one in chain.sealed) + len(secret.files)
    if as_json:
        told = {"made_at": newest.made_at, "files": files, "events": newest.events}
        print_json({"ok": True, **told, "backups": [one.said for one in chain.places]})
        return
    for place, sealed in zip(chain.places, chain.sealed, strict=True):
        click.echo(f"{place.said}: sound, made {sealed.manifest.made_at}")
    click.echo(f"{files} files with those of the keys, each as it was put in")
