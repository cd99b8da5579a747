"""`ddx ledger`."""

from __future__ import annotations

import click

from ddx.cli import exits, places
from ddx.cli.output import as_json, print_json, size

_CODE = exits.EXIT_CODE


@click.group(
    name="ledger",
    invoke_without_command=True,
    epilog=exits.epilog("ddx ledger", _CODE["bad_settings"], _CODE["ledger_unavailable"]),
)
@as_json
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> None:
    """Say where the rows are that reports are made of, and how many: one for each prediction.

    They hold no patient text, and any DuckDB, pandas, Polars or Spark reads them.
    """
    if context.invoked_subcommand is not None:
        return
    from ddx.settings import load
    from ddx.wiring.reporting import described

    found = described(load())
    if as_json:
        print_json(found)
        return
    click.echo(
        f"{found['folder']}: {found['rows']} predictions, {found['feedback']} words of feedback,"
        f" {found['files']} files, {size(found['bytes'])}"
    )


@command.command(
    name="rebuild",
    epilog=exits.epilog(
        "ddx ledger rebuild\nddx ledger rebuild --engine ray",
        _CODE["bad_settings"],
        _CODE["missing_extra"],
        _CODE["delivery_in_use"],
        _CODE["ledger_unavailable"],
        _CODE["cluster_unavailable"],
        _CODE["node_refused"],
    ),
)
@places.on_ray
@as_json
def rebuild(*, engine: str, as_json: bool) -> None:
    """Make it anew from the journals, while no deliverer runs.

    With --engine ray by all processors of this machine, and no other: journals stay here.
    """
    from ddx.settings import load
    from ddx.wiring import reporting

    count = reporting.rebuild(load(), lambda _rows: None, engine)
    if as_json:
        print_json({"rows": count})
        return
    click.echo(f"{count} predictions are in the ledger")


@command.command(
    name="verify",
    epilog=exits.epilog(
        "ddx ledger verify",
        exits.EXIT_NOT_OK,
        _CODE["bad_settings"],
        _CODE["missing_extra"],
        _CODE["mlflow_unavailable"],
        _CODE["ledger_unavailable"],
    ),
)
@as_json
def verify(*, as_json: bool) -> int:
    """Compare its sums with those of MLflow's own runs. Ends with 1 where they differ."""
    from ddx.settings import load
    from ddx.wiring.reporting import verified

    found = verified(load())
    if as_json:
        print_json(found)
    else:
        for name, (ours, theirs) in found["sums"].items():
            mark = "same" if name not in found["differing"] else "DIFFERS"
            click.echo(f"{name}: ledger {ours}, MLflow {theirs}: {mark}")
    return exits.EXIT_OK if found["ok"] else exits.EXIT_NOT_OK
