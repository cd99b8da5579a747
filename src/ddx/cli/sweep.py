"""`ddx sweep`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddx.cli import exits, places
from ddx.cli.agreeing import agree
from ddx.cli.output import as_json, percent, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from ddx.core.ranking import Estimate
    from ddx.core.sweep import Measured
    from ddx.wiring.sweep_kept import Sweep

_CODE = exits.EXIT_CODE
_TOPS = (1, 3, 5, 10)


class Several(click.ParamType[tuple[Any, ...]]):
    """Values with commas between them, each once."""

    def __init__(self, each: click.ParamType[Any], name: str) -> None:
        """`each` reads one value."""
        self._each, self.name = each, f"{name},…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Return the values in their order."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        return tuple(dict.fromkeys(self._each.convert(part, param, ctx) for part in parts))


_WHOLE = click.IntRange(1, 1_000_000)
_SETTINGS = click.Choice(["primary_care", "emergency", "genetics"])


@click.command(
    name="sweep",
    epilog=exits.epilog(
        "ddx sweep cases.jsonl --model knowledge --setting primary_care,emergency\n"
        "ddx sweep cases.jsonl --model gemini-2.0-flash,gpt-4o --temperature 0,0.3,0.7 --repeat 3\n"
        "ddx sweep --resume ddx_data/sweeps/20260101T120000-cases",
        *(
            _CODE[name]
            for name in (
                "bad_settings",
                "missing_extra",
                "unknown_model",
                "unknown_prompt",
                "model_not_configured",
                "bad_cases",
                "bad_results",
                "cluster_unavailable",
                "node_refused",
                "evaluation_stopped",
                "not_agreed",
            )
        ),
    ),
)
@click.argument("cases", required=False, type=click.Path(path_type=Path))
@click.option(
    "--model",
    type=Several(click.STRING, "name"),
    help="Names of `ddx models`; default: the setting default_model.",
)
@click.option("--prompt", type=Several(click.INT, "index"), help="Indices of `ddx prompts`.")
@click.option("--setting", type=Several(_SETTINGS, "setting"), help="Whose base rates.")
@click.option("--temperature", type=Several(click.FloatRange(0, 2), "number"))
@click.option("--top-k", type=Several(_WHOLE, "number"))
@click.option("--max-tokens", type=Several(_WHOLE, "number"))
@click.option(
    "--top", type=click.IntRange(1, 50), default=10, show_default=True, help="Length of a list."
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many cases.")
@click.option("--repeat", type=click.IntRange(min=1), default=1, help="Ask each case so often.")
@click.option(
    "--concurrency", type=click.IntRange(1, 256), default=1, help="So many cases at a time."
)
@places.engine
@click.option(
    "--knowledge",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="As for `ddx evaluate`.",
)
@click.option("--keep-all", is_flag=True, help="Keep cases whose text names the disease, too.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for results and plots.")
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    help="Go on with the sweep of a folder, as it was asked for: without CASES or a grid.",
)
@click.option("--mlflow/--no-mlflow", default=True, help="Keep it in MLflow.")
@click.option("--yes", is_flag=True, help="Do not ask before spending.")
@as_json
@click.pass_context
def command(
    context: click.Context,
    *,
    cases: Path | None,
    model: tuple[str, ...] | None,
    prompt: tuple[int, ...] | None,
    setting: tuple[str, ...] | None,
    temperature: tuple[float, ...] | None,
    top_k: tuple[int, ...] | None,
    max_tokens: tuple[int, ...] | None,
    top: int,
    limit: int | None,
    repeat: int,
    concurrency: int,
    engine: str,
    ray_address: str | None,
    knowledge: Path | None,
    keep_all: bool,
    out: Path | None,
    resume: Path | None,
    mlflow: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Measure models, prompts and settings against each other on the same cases.

    Options that take several values (A,B) are combined with each other; what an engine does not
    read is left out of its cells. CASES is what `ddx evaluate` reads, and each cell is one of its
    evaluations, in a folder of its own: `ddx evaluate --compare` tests two of them. Says first
    what the questions would cost by list price, and asks, unless that is surely nothing.
    """
    from ddx.core.sweep import Grid
    from ddx.settings import load
    from ddx.wiring import sweeping

    settings = places.at(load(), engine, ray_address)
    if resume is not None:
        _nothing_else(context)
        sweep = sweeping.resumed(settings, resume)
    elif cases is None:
        raise click.UsageError("name a file or folder of cases, or a sweep to --resume")
    else:
        grid = Grid(
            models=model or (settings.default_model,),
            prompts=prompt or (),
            settings=setting or (),
            temperatures=temperature or (),
            top_ks=top_k or (),
            max_tokens=max_tokens or (),
        )
        options = sweeping.Options(
            cases=cases,
            grid=grid,
            top=top,
            limit=limit,
            repeat=repeat,
            knowledge=knowledge,
            keep_all=keep_all,
        )
        sweep = sweeping.prepared(settings, options, out)
    click.echo(
        f"{sweep.cases.name}: {len(sweep.cases.cases)} cases, {len(sweep.cells)} cells,"
        f" each case {sweep.options.repeat} times",
        err=True,
    )
    agree(sweep.spending, yes=yes)
    try:
        with progress_bar("answers") as progress:
            found = sweeping.run(
                sweep, progress, concurrency=concurrency, mlflow=mlflow, engine=engine
            )
    except KeyboardInterrupt as stop:
        click.echo(f"\n{stop}", err=True)
        raise
    if as_json:
        print_json({**found.as_json(), "estimate": sweep.spending.as_json()})
    else:
        _show(found)
    return exits.EXIT_OK


def _nothing_else(context: click.Context) -> None:
    """See that --resume stands without what it takes from its folder. Raises UsageError."""
    free = {"resume", "concurrency", "engine", "ray_address", "mlflow", "yes", "as_json"}
    given = [
        name
        for name in context.params
        if name not in free
        and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        named = ", ".join(name.replace("_", "-") for name in given)
        raise click.UsageError(f"--resume asks what its folder says: leave {named} away")


# --- what is printed --------------------------------------------------------------------


def _show(found: Sweep) -> None:
    names = [axis.replace("_", "-") for axis in found.axes]
    print_table(
        (*names, *(f"top-{k}" for k in _TOPS), "MRR"),
        [(*_axes(found, one), *_accuracy(one)) for one in found.cells],
    )
    click.echo("Per cent with 95 % intervals; refusals and failures are misses.\n")
    print_table(
        (*names, "declined", "failed", "same first", "same five", "p50 s", "p95 s", "USD"),
        [(*_axes(found, one), *_rest(one)) for one in found.cells],
    )
    if any(one.stability for one in found.cells):
        click.echo("Same: in two answers to one case, per cent with 95 % intervals.")
    for note in found.notes:
        click.echo(note)
    click.echo(f"files: {found.folder}")
    if found.run_id:
        click.echo(f"MLflow: experiment ddx-evaluation, run {found.run_id} and its children")


def _axes(found: Sweep, one: Measured) -> Sequence[Any]:
    return [getattr(one.cell, axis) for axis in found.axes]


def _accuracy(one: Measured) -> Sequence[str]:
    all = one.summary.all
    mrr = f"{all.mrr.value:.3f} ({all.mrr.low:.3f}-{all.mrr.high:.3f})"
    return [*(percent(all.tops[k]) for k in _TOPS), mrr]


def _rest(one: Measured) -> Sequence[Any]:
    all, cost, stability = one.summary.all, one.summary.cost, one.stability
    return [
        all.declined,
        all.failed,
        _or_none(stability.first if stability else None),
        _or_none(stability.overlap if stability else None),
        _seconds(cost.p50_s),
        _seconds(cost.p95_s),
        "unknown" if cost.usd is None else f"{cost.usd:.4f}" if cost.usd else "0",
    ]


def _or_none(estimate: Estimate | None) -> str | None:
    return percent(estimate) if estimate else None


def _seconds(value: float | None) -> str | None:
    """Say a time to three figures."""
    return None if value is None else f"{value:.3g}"
