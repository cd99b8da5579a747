"""The report of an evaluation: one HTML file with its plots inside, readable offline."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ddx.core.caseset import Case
from ddx.core.evaluation import Plan, Row
from ddx.core.peers import Peer, PublishedRow
from ddx.core.ranking import Estimate
from ddx.core.summary import STRATA, TOPS, Figures, Summary

_MOST_MISSES = 500
_STYLE = """
:root { color-scheme: light dark; --line: #d1d5db; --soft: #f3f4f6; --text: #111827;
  --back: #ffffff; --dim: #6b7280 }
@media (prefers-color-scheme: dark) { :root { --line: #374151; --soft: #1f2937;
  --text: #e5e7eb; --back: #111827; --dim: #9ca3af } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back);
  max-width: 76rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin-top: 2.2rem }
p.dim, td.dim { color: var(--dim) } .wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .7rem; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top }
th { background: var(--soft); font-weight: 600; position: sticky; top: 0 }
.number { text-align: right; white-space: nowrap } td small { color: var(--dim) }
img { max-width: 100%; background: #fff; border: 1px solid var(--line); margin: .4rem 0 }
.plots { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)) }
"""


def write_report(
    path: Path,
    *,
    plan: Plan,
    cases: Mapping[str, Case],
    rows: Sequence[Row],
    summary: Summary,
    published: Sequence[PublishedRow],
    peers: Sequence[Peer],
    plots: Sequence[Path],
    notes: Sequence[str],
    disclaimer: str,
) -> None:
    """Write it. No text of a case is in it."""
    parts = [
        f"<h1>{escape(plan.set_name)}: {escape(plan.model)}</h1>",
        f'<p class="dim">{escape(_line(plan, summary))}</p>',
        *(f"<p>{escape(note)}</p>" for note in notes),
        "<h2>How often the truth is listed</h2>",
        _figures(summary),
        '<p class="dim">Per cent with 95 % intervals. Refusals and failures are misses.</p>',
        '<div class="plots">',
        *(_image(plot) for plot in plots),
        "</div>",
        *_published(published),
        *_peers(peers),
        *_misses(cases, rows),
        f'<p class="dim">{escape(disclaimer)}</p>',
    ]
    path.write_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(plan.set_name)}: {escape(plan.model)}</title>"
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n",
        encoding="utf-8",
    )


def _line(plan: Plan, summary: Summary) -> str:
    all, cost = summary.all, summary.cost
    said = [
        f"{plan.cases} cases ({all.diseases} diseases), digest {plan.set_digest[:12]}",
        f"LLM {plan.llm}" if plan.llm else "",
        f"version {plan.version}, {plan.through}",
        f"{all.answered} answered, {all.declined} declined, {all.failed} failed",
        ", ".join(f"{code}: {count}" for code, count in summary.errors.items()),
    ]
    if cost.p50_s is not None and cost.p95_s is not None:
        said.append(f"A case took {cost.p50_s * 1000:.0f} ms (p50), {cost.p95_s * 1000:.0f} (p95)")
    said.append("Cost unknown" if cost.usd is None else f"Cost {cost.usd:.4f} USD")
    return ". ".join(part for part in said if part) + "."


def _figures(summary: Summary) -> str:
    strata = {"all": summary.all, **summary.strata}
    return (
        _table(
            (
                "cases",
                "n",
                "diseases",
                *(f"top-{k}" for k in TOPS),
                "MRR",
                "NDCG@10",
                "top-1 / 10 *",
            ),
            [_figure_row(name, found) for name, found in strata.items()],
        )
        + '<p class="dim">* with a parent, a child or the phenotypic series counted too.</p>'
    )


def _figure_row(name: str, found: Figures) -> list[str]:
    about = STRATA.get(name.removesuffix("_macro"), ("every case" if name == "all" else "", ()))[0]
    if name.endswith("macro"):
        about = f"{about}; mean over diseases".removeprefix("; ")
    grouped = [f"{100 * found.tops_grouping[k].value:.1f}" for k in (1, 10)]
    return [
        f"<td>{escape(name)}<br><small>{escape(about)}</small></td>",
        _number(found.n),
        _number(found.diseases),
        *(_estimate(one) for one in found.tops.values()),
        _number(f"{found.mrr.value:.3f}"),
        _number(f"{found.ndcg_10.value:.3f}"),
        _number(" / ".join(grouped)),
    ]


def _published(rows: Sequence[PublishedRow]) -> Iterable[str]:
    if rows:
        yield "<h2>What others published on this set</h2>"
        yield _table(
            ("method", "n", *(f"top-{k}" for k in TOPS), "source"),
            [
                [
                    f"<td>{escape(row.method)}</td>",
                    _number(row.n),
                    *(_number(getattr(row, f"top_{k}")) for k in TOPS),
                    f"<td>{escape(row.source)}<br><small>{escape(row.note)}</small></td>",
                ]
                for row in rows
            ],
        )


def _peers(peers: Sequence[Peer]) -> Iterable[str]:
    if peers:
        yield "<h2>On the very same cases</h2>"
        rows = []
        for peer in peers:
            blank = ["<td></td>"] * (len(TOPS) - len(peer.ours))
            for name, values in ((peer.method, peer.theirs), ("this one", peer.ours)):
                first = [f"<td>{escape(name)}</td>", f"<td>{escape(peer.stratum)}</td>"]
                rows.append([*first, _number(peer.n), *map(_estimate, values.values()), *blank])
        yield _table(("method", "cases", "n", *(f"top-{k}" for k in TOPS)), rows)
        yield (
            '<p class="dim">Beside published ranks the group of the truth counts, as it does in'
            " them; beside published shares it does not.</p>"
        )


def _misses(cases: Mapping[str, Case], rows: Sequence[Row]) -> Iterable[str]:
    missed = [row for row in rows if row.grade.rank is None]
    yield f"<h2>What went wrong: {len(missed)} of {len(rows)} answers do not list the truth</h2>"
    if len(missed) > _MOST_MISSES:
        yield f'<p class="dim">The first {_MOST_MISSES}; cases.csv has them all.</p>'
    yield _table(
        ("case", "truth", "what was said first", "outcome", "its group"),
        [_miss(cases[row.case_id], row) for row in missed[:_MOST_MISSES]],
    )


def _miss(case: Case, row: Row) -> list[str]:
    first = row.listed[0] if row.listed else None
    return [
        f"<td>{escape(case.id)}</td>",
        _named(case.truth.name, case.truth.ids),
        _named(first.name, first.ids) if first else "<td></td>",
        f"<td>{escape(row.error_code or row.outcome.replace('_', ' '))}</td>",
        _number(row.grade.rank_grouping),
    ]


def _named(name: str, ids: Sequence[str]) -> str:
    return f"<td>{escape(name)}<br><small>{escape(', '.join(ids))}</small></td>"


def _estimate(found: Estimate) -> str:
    low, high = 100 * found.low, 100 * found.high
    return f'<td class="number">{100 * found.value:.1f} <small>{low:.1f} to {high:.1f}</small></td>'


def _number(value: Any) -> str:
    return f'<td class="number">{"" if value is None else escape(str(value))}</td>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = list(rows)
    numbers = [cell.startswith('<td class="number"') for cell in lines[0]] if lines else []
    titles = "".join(
        f'<th class="number">{escape(title)}</th>' if is_number else f"<th>{escape(title)}</th>"
        for title, is_number in zip(head, numbers or [False] * len(head), strict=True)
    )
    body = "\n".join(f"<tr>{''.join(line)}</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead>\n{body}</table></div>'


def _image(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    alt = escape(path.stem.replace("_", " "))
    return f'<img alt="Plot of {alt}" src="data:image/png;base64,{data}">'
