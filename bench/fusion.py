"""What fusing an LLM's ranking with the knowledge engine's can bring, from published ranks.

    ddx evaluate reese5213.jsonl --knowledge FOLDER --top 10
    python -m bench.fusion reese5213.jsonl ddx_data/evaluations/NAME/results.jsonl

The published ranks say where an LLM had the truth, not what else it listed. So where the truth
lands after the fusion is known only between two bounds: it depends on which others both lists
share, for those come before whatever one list alone has. The lists are at most ten long. The LLM
was not shown candidates: what that changes is not in these figures. Both graders count groups of
Mondo as the truth.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ddx.core.fusion import SMOOTHING
from ddx.core.ranking import wilson

LENGTH = 10
Pair = tuple[int | None, int | None]
"""Ranks of the truth: the LLM's, the knowledge engine's; None where it is not among the ten."""


def at_best(llm: int | None, known: int | None) -> int | None:
    """Return the least fused rank that the truth can have.

    In both lists it is first where they share no other. In one, it keeps its place where the
    others before it are the same in both lists; but the LLM's first is before the engine's.

    >>> at_best(3, 8), at_best(3, None), at_best(None, 3), at_best(None, 1), at_best(None, None)
    (1, 3, 3, 2, None)
    """
    if llm and known:
        return 1
    if llm:
        return llm
    return max(2, known) if known else None


def at_worst(llm: int | None, known: int | None) -> int | None:
    """Return the greatest fused rank that the truth can have; both lists are then ten long.

    In one list at place p: before it come the p - 1 others there, p - 1 of the other list (p of
    the LLM's, which is first of equals), and all later places of both lists as shared ones.

    >>> at_worst(1, 1), at_worst(1, None), at_worst(2, None), at_worst(None, 1)
    (1, 10, 11, 11)
    """
    if llm and known:
        return 1 + _pairs_above(llm, known)
    if llm:
        return 9 + llm
    return 10 + known if known else None


def _pairs_above(llm: int, known: int) -> int:
    """Return how many shared others can have a greater score: each place is used once."""
    bound = _worth(llm) + _worth(known)
    ours = [place for place in range(1, LENGTH + 1) if place != llm]
    theirs = [place for place in range(1, LENGTH + 1) if place != known]
    above = 0
    # The best place goes with the worst that is still enough: so the most pairs come about.
    for place in ours:
        partner = next((p for p in reversed(theirs) if _worth(place) + _worth(p) > bound), None)
        if partner is not None:
            theirs.remove(partner)
            above += 1
    return above


def _worth(place: int) -> float:
    return 1 / (SMOOTHING + place)


def read(cases: Path, results: Path) -> dict[str, list[Pair]]:
    """Return the pairs of ranks by stratum, of the cases whose published rank is known."""
    lines = [json.loads(line) for line in cases.read_text(encoding="utf-8").splitlines()]
    answers = map(json.loads, results.read_text(encoding="utf-8").splitlines()[1:])
    ours = {row["case_id"]: row["grade"]["rank_grouping"] for row in answers}
    found: dict[str, list[Pair]] = {"all": [], "clean": [], "with": []}
    for case in lines:
        if "gpt4o_rank" in case and case["id"] in ours:
            pair = _listed(case["gpt4o_rank"]), _listed(ours[case["id"]])
            found["all"].append(pair)
            found["with" if case["pmid_in_kb"] else "clean"].append(pair)
    return found


def _listed(rank: int | None) -> int | None:
    return rank if rank and rank <= LENGTH else None


def row(name: str, ranks: Iterable[int | None]) -> str:
    """Return a line of top-1, top-3 and top-10 with Wilson's intervals, in per cent."""
    known = list(ranks)
    cells = []
    for k in (1, 3, LENGTH):
        found = wilson(sum(rank is not None and rank <= k for rank in known), len(known))
        cells.append(f"{found.value:.1%} ({found.low:.1%}-{found.high:.1%})".replace("%", ""))
    return f"{name:<28}" + "  ".join(f"{cell:<18}" for cell in cells).rstrip()


def table(name: str, pairs: Sequence[Pair]) -> str:
    """Return one stratum: each alone, either, and the bounds of the fusion."""
    either = [min((r for r in pair if r), default=None) for pair in pairs]
    head = f"{f'{name}, n = {len(pairs)}':<28}" + "  ".join(
        f"{title:<18}" for title in ("top-1", "top-3", "top-10")
    )
    lines = [
        head.rstrip(),
        row("GPT-4o alone", (llm for llm, _ in pairs)),
        row("knowledge alone", (known for _, known in pairs)),
        row("in either list", either),
        row("fused, at best", (at_best(*pair) for pair in pairs)),
        row("fused, at worst", (at_worst(*pair) for pair in pairs)),
    ]
    return "\n".join(lines)


def main() -> None:
    """Print a table for each stratum."""
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    found = read(Path(sys.argv[1]), Path(sys.argv[2]))
    print("\n\n".join(table(name, pairs) for name, pairs in found.items() if pairs))


if __name__ == "__main__":
    main()
