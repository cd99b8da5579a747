"""The tables and plots of a sweep."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from ddx.adapters.evaluation_files import draw_sweep, read_sweep, write_sweep, write_table
from ddx.core.caseset import Case, Truth
from ddx.core.evaluation import Row
from ddx.core.stability import stability
from ddx.core.summary import summarise
from ddx.core.sweep import Cell, Measured
from ddx.errors import BadResults, MissingExtra

CASES = [Case(id=id, text="x", truth=Truth(name="Malaria")) for id in "ab"]


def measured(name: str, *, repeat: int = 1, cost_usd: float | None = None) -> Measured:
    rows = [
        Row(case_id=case.id, attempt=n, outcome="failed", duration_s=0.01 * n, cost_usd=cost_usd)
        for case in CASES
        for n in range(1, repeat + 1)
    ]
    alike = [replace(row, outcome="insufficient_information") for row in rows]
    return Measured(
        cell=Cell(model=name),
        label=name,
        summary=summarise(CASES, rows, Random(1)),
        stability=stability(alike, str.casefold, Random(1)),
        folder=name,
    )


def test_each_figure_is_drawn_and_stability_only_where_there_are_repeats(tmp_path: Path) -> None:
    one = draw_sweep(tmp_path, [measured("a"), measured("b", cost_usd=0.2)])
    assert [path.name for path in one] == ["accuracy.png", "time_and_cost.png"]
    two = draw_sweep(tmp_path, [measured("a"), measured("b", repeat=2)])

    assert [path.name for path in two] == ["accuracy.png", "stability.png", "time_and_cost.png"]
    for path in two:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size < 60_000


def test_without_matplotlib_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(MissingExtra, match="evaluate"):
        draw_sweep(tmp_path, [measured("a")])


def test_what_is_not_measured_is_empty_in_the_table(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", [measured("a").as_row()])

    head, line = (text.split(",") for text in (tmp_path / "t.csv").read_text().splitlines())
    row = dict(zip(head, line, strict=True))
    assert (row["model"], row["n"], row["failed"]) == ("a", "2", "2")
    assert (row["top_1"], row["same_first"], row["usd"]) == ("0.0", "", "")


def test_a_sweeps_file_is_read_back_and_another_is_refused(tmp_path: Path) -> None:
    write_sweep(tmp_path, {"top": 10})
    assert read_sweep(tmp_path) == {"top": 10}

    for text in ("{", "[]", '{"format": "ddx-sweep/0"}'):
        (tmp_path / "sweep.json").write_text(text)
        with pytest.raises(BadResults):
            read_sweep(tmp_path)
