"""`ddx deliver`."""

from __future__ import annotations

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json

_CODE = exits.EXIT_CODE


@click.command(
    name="deliver",
    epilog=exits.epilog(
        "ddx deliver --once --json",
        _CODE["bad_settings"],
        _CODE["master_key_unavailable"],
        _CODE["wrong_master_key"],
        _CODE["missing_extra"],
        _CODE["journal_damaged"],
        _CODE["mlflow_unavailable"],
        _CODE["mlflow_schema_untested"],
        _CODE["delivery_in_use"],
    ),
)
@click.option("--once", is_flag=True, help="Deliver what waits now, then end.")
@click.option("--dry-run", is_flag=True, help="Say what would be delivered; send nothing.")
@click.option(
    "--rebuild", is_flag=True, help="Make the delivery state anew from journals and MLflow."
)
@click.option(
    "--retry-quarantined", is_flag=True, help="Send once more what MLflow refused, then go on."
)
@click.option(
    "--beside",
    type=int,
    metavar="PID",
    help="End with process PID, which started this one; wait while another delivers alone.",
)
@click.option(
    "--deliverers",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Deliver with N processes, each its share of the journals. Default: the setting.",
)
@as_json
def command(
    *,
    once: bool,
    dry_run: bool,
    rebuild: bool,
    retry_quarantined: bool,
    beside: int | None,
    deliverers: int | None,
    as_json: bool,
) -> None:
    """Bring journal records to MLflow, each exactly once. Without --once, until stopped."""
    from ddx.settings import load
    from ddx.wiring.delivering import deliver, would_deliver

    settings = load()
    if dry_run:
        done = {"would_be_delivered": would_deliver(settings)}
    else:
        done = deliver(
            settings,
            once=once,
            rebuild=rebuild,
            retry_quarantined=retry_quarantined,
            beside=beside,
            # One that another started is one of its number.
            deliverers=deliverers or (settings.deliverers if beside is None else 1),
        )
    if as_json:
        print_json(done)
    else:
        click.echo(", ".join(f"{name.replace('_', ' ')}: {n}" for name, n in done.items()))
