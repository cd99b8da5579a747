"""`ddx verify`."""

from __future__ import annotations

from pathlib import Path

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json

_CODE = exits.EXIT_CODE
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_SHOWN = 100


@click.command(
    name="verify",
    epilog=exits.epilog(
        "ddx verify --checkpoint kept/main.json --public-key kept/checkpoint.pub",
        exits.EXIT_NOT_OK,
        _CODE["bad_settings"],
        _CODE["master_key_unavailable"],
        _CODE["wrong_master_key"],
        _CODE["bad_checkpoint"],
        _CODE["mlflow_unavailable"],
        _CODE["journal_damaged"],
    ),
)
@click.option("--checkpoint", "checkpoints", multiple=True, type=_FILE, help="Kept elsewhere.")
@click.option("--public-key", type=_FILE, help="Of the checkpoints; default: this deployment's.")
@click.option("--no-mlflow", is_flag=True, help="Walk the journals alone.")
@as_json
def command(
    *, checkpoints: tuple[Path, ...], public_key: Path | None, no_mlflow: bool, as_json: bool
) -> int:
    """Compare journals, MLflow and kept checkpoints, and name each difference.

    Records that are still on their way to MLflow count as missing: let the deliverer finish.
    """
    from ddx.settings import load
    from ddx.wiring.verifying import verify

    report = verify(load(), mlflow=not no_mlflow, checkpoints=checkpoints, public_key=public_key)
    if as_json:
        print_json(
            {
                "ok": report.ok,
                "events": report.events,
                "predictions": report.predictions,
                "running": report.running,
                "erased": report.erased,
                "archived": report.archived,
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
        click.echo(
            f"{report.events} events, {report.predictions} finished predictions,"
            f" {report.running} running, {report.erased} erased, {report.archived} archived:"
            f" {len(report.differences) or 'no'} differences"
        )
    return exits.EXIT_OK if report.ok else exits.EXIT_NOT_OK
