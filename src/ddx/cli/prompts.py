"""`ddx prompts`."""

from __future__ import annotations

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json, print_table
from ddx.errors import UnknownPrompt

_DIGITS = 12


@click.command(
    name="prompts",
    epilog=exits.epilog(
        "ddx prompts\nddx prompts 1",
        exits.EXIT_CODE["bad_settings"],
        exits.EXIT_CODE["unknown_prompt"],
    ),
)
@click.argument("index", type=int, required=False)
@as_json
def command(*, index: int | None, as_json: bool) -> None:
    """List the prompt configurations, or show the text of the one at INDEX."""
    from ddx.settings import load

    prompts = load().prompts
    if index is None:
        rows = [(p.index, p.name, p.digest[:_DIGITS]) for p in prompts.values()]
        if as_json:
            print_json([{"index": i, "name": n, "digest": d} for i, n, d in rows])
        else:
            print_table(("index", "name", "digest"), rows)
        return
    if index not in prompts:
        raise UnknownPrompt(f"there is no prompt configuration {index}")
    prompt = prompts[index]
    if as_json:
        print_json(
            {
                "index": index,
                "name": prompt.name,
                "digest": prompt.digest[:_DIGITS],
                "text": prompt.text,
            }
        )
    else:
        click.echo(prompt.text)
