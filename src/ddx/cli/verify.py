"""`ddx verify`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddx.cli import exits
from ddx.cli.output import as_json, new_file, print_json

if TYPE_CHECKING:
    from ddx.core.known_ids import KnownIds
    from ddx.core.record import PredictionId

_CODE = exits.EXIT_CODE
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_SHOWN = 100


@click.command(
    name="verify",
    epilog=exits.epilog(
        "ddx verify --checkpoint kept/main.json --public-key kept/checkpoint.pub\n"
        "ddx verify --no-mlflow --ids-to b.ids      # on the machine b\n"
        "ddx verify --others b.ids                  # on the machine a",
        exits.EXIT_NOT_OK,
        _CODE["bad_settings"],
        _CODE["master_key_unavailable"],
        _CODE["wrong_master_key"],
        _CODE["bad_checkpoint"],
        _CODE["mlflow_unavailable"],
        _CODE["journal_damaged"],
        _CODE["output_refused"],
    ),
)
@click.option("--checkpoint", "checkpoints", multiple=True, type=_FILE, help="Kept elsewhere.")
@click.option("--public-key", type=_FILE, help="Of the checkpoints; default: this deployment's.")
@click.option("--no-mlflow", is_flag=True, help="Walk the journals alone.")
@click.option(
    "--ids-to",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write which records are here into a new file, for --others on another machine.",
)
@click.option(
    "--others", multiple=True, type=_FILE, help="What another machine wrote with --ids-to."
)
@as_json
def command(
    *,
    checkpoints: tuple[Path, ...],
    public_key: Path | None,
    no_mlflow: bool,
    ids_to: Path | None,
    others: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Compare journals, MLflow and kept checkpoints, and name each difference.

    Records that are still on their way to MLflow count as missing: let the deliverer finish.
    Where machines share an MLflow (`claims_uri`), the runs of the others are counted; give what
    each wrote with --ids-to, and a run whose record is nowhere is named.
    """
    from ddx.settings import load
    from ddx.wiring.verifying import verify

    told = [_read(path) for path in others]
    handle = new_file(ids_to) if ids_to is not None else None
    now = datetime.now(UTC)
    try:
        report = verify(
            load(),
            mlflow=not no_mlflow,
            checkpoints=checkpoints,
            public_key=public_key,
            others=told,
        )
        if handle is not None:
            _write(handle, now, report.ids)
    except BaseException:
        if handle is not None and ids_to is not None:
            ids_to.unlink(missing_ok=True)
        raise
    if as_json:
        print_json(
            {
                "ok": report.ok,
                "events": report.events,
                "predictions": report.predictions,
                "running": report.running,
                "erased": report.erased,
                "archived": report.archived,
                "elsewhere": report.elsewhere,
                "differences": [
                    {"fault": d.fault, "where": d.where, "what": d.what} for d in report.differences
                ],
            }
        )
    else:
        for found in report.differences[:_SHOWN]:
            click.echo(f"{found.fault}: {found.where}{': ' if found.what else ''}{found.what}")
        if len(report.differences) > _SHOWN:
            click.echo(f"and {len(report.differences) - _SHOWN} more; --json has them all")
        if report.elsewhere and not others:
            click.echo(
                f"{report.elsewhere} runs have no record on this machine: with --others each is"
                " looked for in what the other ones hold"
            )
        click.echo(
            f"{report.events} events, {report.predictions} finished predictions,"
            f" {report.running} running, {report.erased} erased, {report.archived} archived,"
            f" {report.elsewhere} of other machines:"
            f" {len(report.differences) or 'no'} differences"
        )
    return exits.EXIT_OK if report.ok else exits.EXIT_NOT_OK


def _read(path: Path) -> KnownIds:
    from ddx.core.known_ids import decode

    try:
        with path.open(encoding="utf-8") as file:
            return decode(file)
    except (OSError, ValueError) as error:
        raise click.BadParameter(
            f"{path}: {error}; make it with `ddx verify --ids-to` on the other machine",
            param_hint="--others",
        ) from error


def _write(handle: int, said_at: datetime, ids: set[PredictionId]) -> None:
    from ddx.core.known_ids import KnownIds, encode

    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in encode(KnownIds(said_at=said_at, ids=ids)))
