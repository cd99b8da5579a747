"""The report and the plots of an evaluation."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest

from ddx.adapters.evaluation_files import draw, write_report
from ddx.core.caseset import Case, Published, Truth
from ddx.core.evaluation import Plan, Row
from ddx.core.grading import Grade, Listed
from ddx.core.peers import PublishedRow, peers
from ddx.core.summary import summarise
from ddx.errors import MissingExtra

CASES = [
    Case(
        id=f"c{n}",
        text="secret text",
        truth=Truth(name="<One> & other", ids=("OMIM:1",)),
        flags={"pmid_in_kb": n == 0},
        published={"gpt": Published(top_1=0.5)},
    )
    for n in range(3)
]
ROWS = [
    Row(
        case_id=f"c{n}",
        attempt=1,
        outcome="answered",
        listed=(Listed(name=f"said {n}", probability=0.1 * n),),
        grade=Grade(rank=rank, rank_grouping=rank),
        duration_s=0.1,
    )
    for n, rank in enumerate((1, 7, None))
]
PUBLISHED = [
    PublishedRow(method="Other", top_1=30.0, top_10=50.5, source="Somebody", note="all cases"),
    PublishedRow(method="Silent", source="Somebody"),
]
PLAN = Plan(set_name="set", set_digest="d" * 64, cases=3, model="m")


def test_a_report_is_one_file_with_tables_plots_and_what_went_wrong(tmp_path: Path) -> None:
    summary = summarise(CASES, ROWS, Random(1))
    plots = draw(tmp_path, summary, ROWS, PUBLISHED, 10)

    write_report(
        tmp_path / "report.html",
        plan=PLAN,
        cases={case.id: case for case in CASES},
        rows=ROWS,
        summary=summary,
        published=PUBLISHED,
        peers=peers(CASES, ROWS, Random(1)),
        plots=plots,
        notes=["Mind this."],
        disclaimer="No diagnosis.",
    )

    assert [path.name for path in plots] == ["top_k.png", "ranks.png", "calibration.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in plots)
    text = (tmp_path / "report.html").read_text()
    assert text.count("data:image/png;base64,") == 3
    for said in ("Somebody", "Mind this.", "No diagnosis.", "said 2", "1 of 3 answers"):
        assert said in text
    assert "&lt;One&gt; &amp; other" in text
    assert "secret text" not in text
    assert "http" not in text


def test_without_matplotlib_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(MissingExtra, match=r"ddx-server\[evaluate\]"):
        draw(tmp_path, summarise(CASES, ROWS, Random(1)), ROWS, [], 10)
