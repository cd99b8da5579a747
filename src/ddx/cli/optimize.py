"""`ddx optimize`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddx.cli import exits
from ddx.cli.agreeing import agree
from ddx.cli.output import as_json, percent, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from ddx.wiring.optimizing import Optimized, Progress

_CODE = exits.EXIT_CODE


@click.command(
    name="optimize",
    epilog=exits.epilog(
        "ddx optimize cases.jsonl --model gemini-2.0-flash --optimizer bootstrap\n"
        "ddx optimize cases.jsonl --model local --optimizer gepa --calls 200",
        *(
            _CODE[name]
            for name in (
                "bad_settings",
                "missing_extra",
                "unknown_model",
                "unknown_prompt",
                "model_not_configured",
                "model_error",
                "bad_program",
                "bad_cases",
                "evaluation_stopped",
                "not_agreed",
                "output_refused",
                "nothing_learned",
            )
        ),
    ),
)
@click.argument("cases", type=click.Path(exists=True, path_type=Path))
@click.option("--model", required=True, help="An LLM of `ddx models`.")
@click.option(
    "--optimizer",
    type=click.Choice(["bootstrap", "miprov2", "gepa"]),
    default="bootstrap",
    show_default=True,
    help="Examples; instructions and examples; instructions rewritten from mistakes.",
)
@click.option("--prompt", type=int, help="Index of `ddx prompts` to begin with.")
@click.option(
    "--train",
    type=click.FloatRange(0.05, 0.95),
    default=0.5,
    show_default=True,
    help="Share of the diseases whose cases are trained on; the others are for measuring.",
)
@click.option("--calls", type=click.IntRange(2, 1_000_000), help="The most calls while compiling.")
@click.option("--demos", type=click.IntRange(0, 16), default=2, show_default=True, help="Examples.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the split and the search.")
@click.option(
    "--top", type=click.IntRange(1, 50), default=10, show_default=True, help="Length of a list."
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many cases.")
@click.option(
    "--concurrency", type=click.IntRange(1, 256), default=1, help="So many cases at a time."
)
@click.option(
    "--knowledge",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="As for `ddx evaluate`.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the program and figures.")
@click.option("--mlflow/--no-mlflow", default=True, help="Keep it in MLflow and its registry.")
@click.option("--yes", is_flag=True, help="Do not ask before spending.")
@as_json
def command(
    *,
    cases: Path,
    model: str,
    optimizer: str,
    prompt: int | None,
    train: float,
    calls: int | None,
    demos: int,
    seed: int,
    top: int,
    limit: int | None,
    concurrency: int,
    knowledge: Path | None,
    out: Path | None,
    mlflow: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Compile a model's program on some cases, and measure it on the others.

    All cases of a disease are on one side of the split. The program file holds training cases as
    examples: keep it as you keep them. Says first what it would cost, and asks.
    """
    from ddx.core.optimizing import Optimizer
    from ddx.settings import load
    from ddx.wiring import optimizing

    options = optimizing.Options(
        cases=cases,
        model=model,
        optimizer=Optimizer(optimizer),
        prompt=prompt,
        train=train,
        calls=calls,
        demos=demos,
        seed=seed,
        top=top,
        limit=limit,
        concurrency=concurrency,
        knowledge=knowledge,
        out=out,
        mlflow=mlflow,
    )
    prepared = optimizing.prepared(load(), options)
    click.echo(
        f"{prepared.cases.name}: {len(prepared.split.train)} cases to train on,"
        f" {len(prepared.split.test)} to measure with",
        err=True,
    )
    agree(prepared.spending, yes=yes)
    with ExitStack() as bars:
        found = optimizing.run(prepared, _bars(bars))
    if as_json:
        print_json(found.as_json())
    else:
        _show(found)


def _bars(bars: ExitStack) -> Progress:
    """Return what shows a bar for each part, one after the other."""
    shown = {}

    def tell(part: str, done: int, total: int) -> None:
        if part not in shown:
            bars.close()
            shown[part] = bars.enter_context(progress_bar(part))
        shown[part](done, total)

    return tell


def _show(found: Optimized) -> None:
    provenance = found.provenance
    print_table(
        ("", "top-1", "top-5", "top-10", "MRR", "failed"),
        [
            (
                name,
                *(percent(one.summary.all.tops[k]) for k in (1, 5, 10)),
                f"{one.summary.all.mrr.value:.3f}",
                one.summary.all.failed,
            )
            for name, one in (("before", found.before), ("after", found.after))
        ],
    )
    mrr = next(one for one in found.comparison.figures if one.figure == "mrr")
    click.echo(
        f"Per cent with 95 % intervals, {found.comparison.n} cases that were not trained on;"
        f" MRR {mrr.difference.value:+.3f}, p = {mrr.p:.2g}"
    )
    made = provenance["compiling"]
    cost = made["cost_usd"]
    click.echo(
        f"compiled with {made['calls']} calls ({made['failed']} failed),"
        f" {'cost unknown' if cost is None else f'{cost:.4f} USD'}: {provenance['demos']} examples,"
        f" {'new' if provenance['instructions_changed'] else 'the same'} instructions"
    )
    for note in found.notes:
        click.echo(note)
    click.echo(f"program: {found.program} (SHA-256 {found.compiled.digest[:16]}…)")
    click.echo(f'to use it, in ddx.toml: [models."{provenance["model"]}"] program = "…"')
    if found.version:
        click.echo(f"MLflow: model {found.version}, run {found.run_id}")
