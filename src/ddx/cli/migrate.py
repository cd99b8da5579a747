"""`ddx migrate`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json, size

_CODE = exits.EXIT_CODE


@click.command(
    name="migrate",
    epilog=exits.epilog(
        "ddx migrate --to 'postgresql://ddx@db/mlflow?sslmode=verify-full&sslrootcert=ca.pem'"
        " --password-file db_password\n"
        "ddx migrate --artifacts",
        _CODE["bad_settings"],
        _CODE["missing_extra"],
        _CODE["move_refused"],
        _CODE["mlflow_unavailable"],
    ),
)
@click.option("--to", metavar="DB_URI", help="Move the rows into this empty database.")
@click.option("--password-file", default="", help="With --to: its password, as one line.")
@click.option("--artifacts", is_flag=True, help="Move the files to `artifacts_path`.")
@as_json
def command(*, to: str | None, password_file: str, artifacts: bool, as_json: bool) -> int:
    """Move MLflow's rows or files to another store, while MLflow and the deliverer stand still.

    Every table is compared by count and digest, every file by SHA-256. The old store stays as it
    was. A move that was cut off goes on where it was. The server may run: its journal keeps what
    comes meanwhile.
    """
    if (to is None) != artifacts:
        raise click.UsageError("name a database with --to, or move the files with --artifacts")
    from ddx.settings import load
    from ddx.wiring import migrating

    settings, say = load(), partial(click.echo, err=True)
    if to is None:
        done = migrating.migrate_files(settings, say)
        if as_json:
            print_json(asdict(done))
        elif done.files:
            click.echo(f"{done.files} files, {size(done.size_bytes)}, are in {done.new}, equal.")
            click.echo(f"The old ones are still in {done.old}: remove them when you are sure.")
        else:
            click.echo(f"Nothing to move: the files are in {done.new}.")
        return exits.EXIT_OK
    moved = migrating.migrate_rows(settings, to, password_file, say)
    if as_json:
        print_json({"tables": [asdict(one) for one in moved]})
    else:
        runs = next((one.rows for one in moved if one.table == "runs"), 0)
        click.echo(f"{sum(one.rows for one in moved)} rows, {runs} runs among them, are equal.")
        click.echo("Write the new db_uri into mlflow_server_config.py, then `ddx up`.")
    return exits.EXIT_OK
