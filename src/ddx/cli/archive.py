"""`ddx archive`."""

from __future__ import annotations

import re
from dataclasses import asdict

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json, progress_bar

_CODE = exits.EXIT_CODE
_CODES = (
    _CODE["bad_settings"],
    _CODE["missing_extra"],
    _CODE["not_found"],
    _CODE["journal_unavailable"],
    _CODE["mlflow_unavailable"],
    _CODE["archive_damaged"],
)


class _Days(click.ParamType):  # type: ignore[type-arg]
    name = "365d"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read `365d` or `365`."""
        found = re.fullmatch(r"(\d{1,6})d?", str(value))
        if found is None:
            self.fail(f"{value!r} is no number of days, such as 365d", param, ctx)
        return int(found[1])


@click.group(
    name="archive",
    invoke_without_command=True,
    epilog=exits.epilog(
        "ddx archive --older-than 365d --dry-run\nddx archive --older-than 365d", *_CODES
    ),
)
@click.option("--older-than", type=_Days(), help="How old a run is at least, as 365d.")
@click.option("--dry-run", is_flag=True, help="Say how many would be archived; change nothing.")
@as_json
@click.pass_context
def command(ctx: click.Context, *, older_than: int | None, dry_run: bool, as_json: bool) -> None:
    """Take old runs out of MLflow's tables into the archive, while everything runs.

    Each run's rows are written, sealed under its record's key, read back, and only then deleted.
    Its files stay where they are. `ddx`, GET /predictions and the reports still find it; `ddx
    verify` compares it; `ddx erase` reaches it.
    """
    if ctx.invoked_subcommand is not None:
        return
    if older_than is None:
        raise click.UsageError("say --older-than, as 365d")
    from ddx.settings import load
    from ddx.wiring.archiving import archive

    passed = 0
    with progress_bar("Archiving") as show:

        def progress(count: int) -> None:
            nonlocal passed
            passed += count
            show(passed, passed)

        done = archive(load(), older_than, dry_run=dry_run, progress=progress)
    if as_json:
        print_json({**asdict(done), "dry_run": dry_run})
        return
    verb = "would be archived" if dry_run else "archived"
    click.echo(f"{done.archived} {verb}, {done.changed} changed meanwhile, {done.erased} erased")


@command.command(
    name="restore",
    epilog=exits.epilog("ddx archive restore 01a20801-e9ca-787c-862e-5df01cce0ac4", *_CODES),
)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every archived run.")
@as_json
def restore(*, ids: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Bring archived runs back into MLflow, as they were."""
    if bool(ids) == everything:
        raise click.UsageError("name ids, or --all")
    from ddx.settings import load
    from ddx.wiring.archiving import restore as bring_back

    count = bring_back(load(), ids)
    if as_json:
        print_json({"restored": count})
    else:
        click.echo(f"{count} restored")
