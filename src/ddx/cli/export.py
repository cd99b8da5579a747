"""`ddx export`."""

from __future__ import annotations

from pathlib import Path

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json

_CODE = exits.EXIT_CODE
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    name="export",
    epilog=exits.epilog(
        "ddx export cases --out cases.jsonl\nddx evaluate cases.jsonl --model knowledge",
        _CODE["bad_settings"],
        _CODE["master_key_unavailable"],
        _CODE["wrong_master_key"],
        _CODE["output_refused"],
        _CODE["journal_unavailable"],
        _CODE["journal_damaged"],
    ),
)
@click.argument("what", type=click.Choice(["cases"]))
@click.option("--out", required=True, type=_FILE, help="A new file; one that is there is kept.")
@as_json
def command(*, what: str, out: Path, as_json: bool) -> None:
    """Write the cases whose true diagnosis somebody named in feedback, for `ddx evaluate`.

    The file holds patients' texts as they came, and its owner alone may read it: keep it as you
    keep the journal. Erasing a record later does not reach into it.
    """
    from ddx.core.access import Act
    from ddx.settings import load
    from ddx.wiring.auditing import note_command
    from ddx.wiring.exporting import export_cases

    settings = load()
    note_command(settings, Act.EXPORT, "export cases")
    count = export_cases(settings, out)
    if as_json:
        print_json({"what": what, "out": str(out), "cases": count})
        return
    click.echo(f"{out}: {count} {'case' if count == 1 else 'cases'} with a true diagnosis")
    click.echo("It holds patients' texts: keep it as you keep the journal.", err=True)
