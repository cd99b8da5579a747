"""`ddx replay`."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import click

from ddx.cli import exits, places
from ddx.cli.output import as_json, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from ddx.core.moves import Move
    from ddx.core.replay import Replay

_CODE = exits.EXIT_CODE


@click.command(
    name="replay",
    epilog=exits.epilog(
        "ddx replay 019b76da-a800-7000-8000-000000000000 --model gemini-2.0-flash\n"
        "ddx replay 019b76da-a800-7000-8000-000000000000 --temperature 0 --prompt 3 --json",
        exits.EXIT_NOT_OK,
        *(
            _CODE[name]
            for name in (
                "bad_settings",
                "master_key_unavailable",
                "wrong_master_key",
                "missing_extra",
                "unknown_model",
                "unknown_prompt",
                "model_not_configured",
                "not_found",
                "erased",
                "unfinished",
                "journal_unavailable",
                "journal_in_use",
                "cluster_unavailable",
                "node_refused",
            )
        ),
    ),
)
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--model", help="A name of `ddx models`; default: the one that was asked.")
@click.option("--prompt", type=int, help="An index of `ddx prompts`.")
@click.option("--temperature", type=click.FloatRange(0, 2))
@click.option("--top-k", type=click.IntRange(1, 1_000_000))
@click.option("--max-tokens", type=click.IntRange(1, 1_000_000))
@click.option("--top", type=click.IntRange(1, 50), help="Length of a list.")
@click.option(
    "--concurrency", type=click.IntRange(1, 256), default=1, help="So many cases at a time."
)
@places.engine
@as_json
def command(
    *,
    ids: tuple[str, ...],
    model: str | None,
    prompt: int | None,
    temperature: float | None,
    top_k: int | None,
    max_tokens: int | None,
    top: int | None,
    concurrency: int,
    engine: str,
    ray_address: str | None,
    as_json: bool,
) -> int:
    """Ask logged cases again, and show both rankings side by side with the moves.

    ID is a prediction's: the header X-Prediction-Id, the name of its MLflow run. What no option
    names stays as the logged request asked it, or is the model's own of today. Each answer is a
    new prediction, kept and delivered like any other, with the tag ddx.replay_of. Ends with 1
    where a new prediction failed.
    """
    from ddx.core.replay import Change, answered
    from ddx.settings import load
    from ddx.wiring.replaying import replay

    change = Change(
        model=model,
        prompt=prompt,
        temperature=temperature,
        top_k=top_k,
        max_tokens=max_tokens,
        top=top,
    )
    settings = places.at(load(), engine, ray_address)
    with progress_bar("cases") as progress:
        found = replay(
            settings, ids, change, concurrency=concurrency, engine=engine, progress=progress
        )
    if as_json:
        print_json([one.as_json() for one in found])
    else:
        for one in found:
            _show(one)
        if len(found) > 1:
            same = sum(one.same_first for one in found)
            click.echo(f"same first diagnosis: {same} of {len(found)}")
    return exits.EXIT_OK if all(answered(one.after) for one in found) else exits.EXIT_NOT_OK


def _show(found: Replay) -> None:
    before, after = (found.as_json()[name] for name in ("before", "after"))
    click.echo(f"before  {found.before.id}  {_said(before)}")
    click.echo(f"after   {found.after.id}  {_said(after)}\n")
    by_before = {one.before: one for one in found.moves if one.before}
    by_after = {one.after: one for one in found.moves if one.after}
    names = [[entry["diagnosis"] for entry in one["ranking"]] for one in (before, after)]
    print_table(
        ("rank", "before", "now", "after", "move"),
        [
            (rank, old, _now(by_before.get(rank)), new, new and by_after[rank].said)
            for rank, (old, new) in enumerate(zip_longest(*names), start=1)
        ],
    )
    click.echo()


def _now(move: Move | None) -> str | int | None:
    """Return where a diagnosis of the earlier list stands now."""
    return (move.after or "gone") if move else None


def _said(one: dict[str, Any]) -> str:
    """Say how one was asked, how it ended and what it took, in a line."""
    asked = [
        one["model"],
        *(f"{n} {one[n]}" for n in ("prompt", "temperature", "top_k") if one[n] is not None),
    ]
    if one["outcome"] != "answered":
        asked.append(one["error_code"] or one["outcome"].replace("_", " "))
    if one["seconds"] is not None:
        asked.append(f"{one['seconds']:.1f} s")
    if one["cost_usd"] is not None:
        asked.append(f"{one['cost_usd']:.6f} USD")
    return ", ".join(asked)
