"""`ddx evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddx.cli import exits, places
from ddx.cli.output import as_json, percent, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from ddx.core.evaluation import Plan
    from ddx.core.paired import Comparison
    from ddx.core.peers import Peer
    from ddx.core.summary import Figures
    from ddx.wiring.evaluation_kept import Evaluation

_CODE = exits.EXIT_CODE
_TOPS = (1, 3, 5, 10)
_SETTINGS = click.Choice(["primary_care", "emergency", "genetics"])


@click.command(
    name="evaluate",
    epilog=exits.epilog(
        "ddx evaluate cases.jsonl\n"
        "ddx evaluate phenopackets/ --model gemini-2.0-flash --concurrency 8 --limit 200\n"
        "ddx evaluate cases.jsonl --engine ray --ray-address 10.0.0.5:6379\n"
        "ddx evaluate cases.csv --resume ddx_data/evaluations/20260101T120000-cases-knowledge\n"
        "ddx evaluate --compare first/results.jsonl second/results.jsonl",
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
                "server_unreachable",
                "cluster_unavailable",
                "node_refused",
                "evaluation_stopped",
            )
        ),
    ),
)
@click.argument("cases", required=False, type=click.Path(path_type=Path))
@click.option("--model", help="A name of `ddx models`; default: the setting default_model.")
@click.option("--prompt", type=int, help="An index of `ddx prompts`; default: the model's.")
@click.option("--setting", type=_SETTINGS, help="Whose base rates; default: by the case's form.")
@click.option("--temperature", type=click.FloatRange(0, 2), help="Default: the model's own.")
@click.option("--top-k", type=click.IntRange(1, 1_000_000), help="Default: the model's own.")
@click.option("--max-tokens", type=click.IntRange(1, 1_000_000), help="Default: the model's own.")
@click.option(
    "--top", type=click.IntRange(1, 50), default=10, show_default=True, help="Length of a list."
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many cases.")
@click.option("--repeat", type=click.IntRange(min=1), default=1, help="Ask each case so often.")
@click.option(
    "--concurrency", type=click.IntRange(1, 256), default=1, help="So many cases at a time."
)
@places.engine
@click.option("--server", metavar="URL", help="Ask a running server; default: in this process.")
@click.option(
    "--knowledge",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with mondo_xref.tsv.gz and mondo_rare_edges.tsv.gz to grade by (default: added"
    " knowledge), and with DDXPlus's release_evidences.json.",
)
@click.option("--keep-all", is_flag=True, help="Keep cases whose text names the disease, too.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for results and report.")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with a results file.")
@click.option("--mlflow/--no-mlflow", default=True, help="Keep the evaluation in MLflow.")
@click.option(
    "--compare",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="A B",
    help="Compare two results files of the same cases; nothing is asked.",
)
@as_json
def command(
    *,
    cases: Path | None,
    model: str | None,
    prompt: int | None,
    setting: str | None,
    temperature: float | None,
    top_k: int | None,
    max_tokens: int | None,
    top: int,
    limit: int | None,
    repeat: int,
    concurrency: int,
    engine: str,
    ray_address: str | None,
    server: str | None,
    knowledge: Path | None,
    keep_all: bool,
    out: Path | None,
    resume: Path | None,
    mlflow: bool,
    compare: tuple[Path, Path] | None,
    as_json: bool,
) -> int:
    """Measure a model on cases whose truth is known, beside published figures.

    CASES is JSON lines (a case each: id; case_text, or present and absent HPO ids; truth with
    name and ids), CSV with the same columns, a folder of GA4GH phenopackets, or a file of
    CRAFT-MD, DDXPlus or AgentClinic. Refusals and failures count as misses. Asked in this
    process, a case leaves no record in the journal; a server keeps each as it always does.
    """
    from ddx.settings import load
    from ddx.wiring import evaluating

    if compare is not None:
        if cases is not None:
            raise click.UsageError("--compare takes two results files, and no CASES")
        _show_comparison(*evaluating.compared(*compare), as_json=as_json)
        return exits.EXIT_OK
    if cases is None:
        raise click.UsageError("name a file or folder of cases, or two results with --compare")
    if out is not None and resume is not None:
        raise click.UsageError("--resume goes on in its own folder: leave --out away")
    if server is not None and engine != "process":
        raise click.UsageError("--server asks a server: leave --engine away")
    settings = places.at(load(), engine, ray_address)
    options = evaluating.Options(
        cases=cases,
        model=model or settings.default_model,
        prompt=prompt,
        setting=setting,
        temperature=temperature,
        top_k=top_k,
        max_tokens=max_tokens,
        top=top,
        limit=limit,
        repeat=repeat,
        concurrency=concurrency,
        server=server,
        engine=engine,
        knowledge=knowledge,
        keep_all=keep_all,
        out=out,
        resume=resume,
        mlflow=mlflow,
    )
    try:
        with progress_bar("cases") as progress:
            found = evaluating.run(settings, options, progress)
    except KeyboardInterrupt as stop:
        click.echo(f"\n{stop}", err=True)
        raise
    if as_json:
        print_json(found.as_json())
    else:
        _show(found)
    return exits.EXIT_OK


# --- what is printed --------------------------------------------------------------------


def _show(found: Evaluation) -> None:
    plan, summary = found.plan, found.summary
    click.echo(f"{plan.set_name}: {plan.cases} cases, model {plan.model}, {plan.through}\n")
    head = ("cases", "n", "diseases", *(f"top-{k}" for k in _TOPS), "MRR")
    rows = [_figures("all", summary.all)]
    rows += [_figures(name, figures) for name, figures in summary.strata.items()]
    print_table(head, rows)
    click.echo("Per cent with 95 % intervals; refusals and failures are misses.\n")
    if summary.how.get("group"):
        grouped = [("all", summary.all), *summary.strata.items()]
        print_table(
            ("with groups counted", *(f"top-{k}" for k in _TOPS)),
            [(name, *map(percent, f.tops_grouping.values())) for name, f in grouped],
        )
        click.echo()
    if found.published:
        print_table(
            ("published", "n", *(f"top-{k}" for k in _TOPS), "source"),
            [
                (
                    row.method,
                    row.n,
                    row.top_1,
                    row.top_3,
                    row.top_5,
                    row.top_10,
                    row.source + (f"; {row.note}" if row.note else ""),
                )
                for row in found.published
            ],
        )
        click.echo()
    if found.peers:
        print_table(
            ("on the same cases", "cases", "n", *(f"top-{k}" for k in _TOPS)),
            [line for peer in found.peers for line in _peer(peer)],
        )
        click.echo()
    _show_rest(found)


def _show_rest(found: Evaluation) -> None:
    all, cost = found.summary.all, found.summary.cost
    click.echo(f"{all.answered} answered, {all.declined} declined, {all.failed} failed")
    for code, count in found.summary.errors.items():
        click.echo(f"  {code}: {count}")
    if cost.p50_s is not None and cost.p95_s is not None:
        click.echo(
            f"time of a case: p50 {cost.p50_s * 1000:.1f} ms, p95 {cost.p95_s * 1000:.1f} ms;"
            f" cost: {'unknown' if cost.usd is None else f'{cost.usd:.4f} USD'}"
        )
    if found.summary.calibration is not None:
        c = found.summary.calibration
        click.echo(f"calibration error {c.error:.3f}, Brier {c.brier:.3f} (first place, n {c.n})")
    if found.summary.stable is not None:
        click.echo(f"same first diagnosis at each attempt: {found.summary.stable:.1%}")
    if found.stability is not None:
        click.echo(
            f"between two attempts: same first {percent(found.stability.first)},"
            f" overlap of the first five {percent(found.stability.overlap)}"
        )
    for note in found.notes:
        click.echo(note)
    click.echo(f"files: {found.folder}")
    if found.run_id:
        click.echo(f"MLflow: experiment ddx-evaluation, run {found.run_id}")


def _figures(name: str, figures: Figures) -> tuple[str | int, ...]:
    return (
        name,
        figures.n,
        figures.diseases,
        *map(percent, figures.tops.values()),
        f"{figures.mrr.value:.3f} ({figures.mrr.low:.3f}-{figures.mrr.high:.3f})",
    )


def _peer(peer: Peer) -> list[tuple[str | int, ...]]:
    blank = ("-",) * (len(_TOPS) - len(peer.ours))
    return [
        (peer.method, peer.stratum, peer.n, *map(percent, peer.theirs.values()), *blank),
        ("  this one", "", peer.n, *map(percent, peer.ours.values()), *blank),
    ]


def _show_comparison(first: Plan, second: Plan, found: Comparison, *, as_json: bool) -> None:
    if as_json:
        print_json(found.as_json())
        return
    click.echo(f"A: {first.model}, prompt {first.prompt}, version {first.version}")
    click.echo(f"B: {second.model}, prompt {second.prompt}, version {second.version}")
    click.echo(f"{found.n} cases of {first.set_name}\n")
    print_table(
        ("figure", "A", "B", "B - A", "only A", "only B", "p"),
        [
            (
                one.figure,
                percent(one.first),
                percent(one.second),
                percent(one.difference),
                one.only_first,
                one.only_second,
                f"{one.p:.4g}",
            )
            for one in found.figures
        ],
    )
