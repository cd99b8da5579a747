"""`ddx erase`."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddx.cli import exits
from ddx.cli.output import as_json, new_file, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ddx.services.erase import Certificate, Target
    from ddx.settings import Settings

_CODE = exits.EXIT_CODE


@click.command(
    name="erase",
    epilog=exits.epilog(
        "ddx erase 01a20801-e9ca-787c-862e-5df01cce0ac4\n"
        "ddx erase --tracker visit-4711 --out certificate.json",
        exits.EXIT_NOT_OK,
        _CODE["bad_settings"],
        _CODE["master_key_unavailable"],
        _CODE["wrong_master_key"],
        _CODE["missing_extra"],
        _CODE["not_found"],
        _CODE["unfinished"],
        _CODE["on_hold"],
        _CODE["journal_unavailable"],
        _CODE["output_refused"],
    ),
)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--tracker", "trackers", multiple=True, help="All that came with this tracker.")
@click.option("--yes", is_flag=True, help="Do not ask. Needed where nobody can be asked.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the certificate into a new file.",
)
@as_json
def command(
    *, ids: tuple[str, ...], trackers: tuple[str, ...], yes: bool, out: Path | None, as_json: bool
) -> int:
    """Erase predictions for ever, while everything runs: case, prompt, output, answer, feedback.

    Destroys each record's key and takes files, tracker and true diagnosis from its MLflow run. What
    repeats an erased case, a retry or a replay, is erased with it. The chain still verifies. Says
    what was done and what remains; ends with 1 where MLflow could not be reached: repeat it then.
    """
    if not ids and not trackers:
        raise click.UsageError("name an id or a --tracker")
    if not yes and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("nobody can be asked here: add --yes to erase for ever")
    from ddx.settings import load
    from ddx.wiring import erasing

    settings = load()
    found = erasing.wanted(settings, ids, trackers)
    if not as_json:
        print_table(("prediction", "why"), [(one.id, one.why) for one in found])
    if not yes and not click.confirm(f"Erase {len(found)} for ever?", default=False):
        return exits.EXIT_NOT_OK
    return carry_out(settings, found, out, as_json=as_json)


def carry_out(
    settings: Settings, found: Sequence[Target], out: Path | None, *, as_json: bool
) -> int:
    """Erase these, show or write the certificate, and return the exit code."""
    from ddx.wiring import erasing

    # Before anything is erased: a certificate that cannot be written is none.
    handle = new_file(out) if out is not None else None
    done = erasing.erased(settings, found)
    certificate = {**asdict(done), "at": done.at.isoformat(), "whole": done.whole}
    if handle is not None:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(certificate, indent=1) + "\n")
    if as_json:
        print_json(certificate)
    else:
        _show(done)
    return exits.EXIT_OK if done.whole else exits.EXIT_NOT_OK


def _show(done: Certificate) -> None:
    for one in done.erased:
        click.echo(f"{one['prediction_id']}: key {one['key']}; {one['undone'] or 'MLflow done'}")
    for line in done.remains:
        click.echo(f"remains: {line}")
