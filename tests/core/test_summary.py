"""Rows to figures: misses stay in, leaks stand beside what is clean, diseases weigh the same."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

from ddx.core.caseset import Case, Published, Truth
from ddx.core.evaluation import Row
from ddx.core.grading import Grade, Listed
from ddx.core.paired import compare
from ddx.core.peers import peers
from ddx.core.summary import summarise


def a_case(id: str, disease: str = "OMIM:1", **changes: Any) -> Case:
    return Case(id=id, text="x", truth=Truth(name="d", ids=(disease,)), **changes)


def a_row(id: str, rank: int | None, attempt: int = 1, **changes: Any) -> Row:
    outcome = changes.pop("outcome", "answered")
    grade = Grade(rank=rank, rank_grouping=rank)
    plain: dict[str, Any] = {"duration_s": 0.5, **changes}
    return Row(case_id=id, attempt=attempt, outcome=outcome, grade=grade, **plain)


def test_refusals_failures_and_cases_without_a_row_are_misses() -> None:
    cases = [a_case(str(n)) for n in range(4)]
    rows = [
        a_row("0", 1),
        a_row("1", None, outcome="insufficient_information"),
        a_row("2", None, outcome="failed", error_code="model_deadline"),
    ]

    found = summarise(cases, rows, Random(1))

    assert (found.all.n, found.all.answered, found.all.declined, found.all.failed) == (4, 1, 1, 1)
    assert found.all.tops[1].value == 0.25
    assert found.all.mrr.value == 0.25
    assert found.errors == {"model_deadline": 1}
    assert found.as_json()["top_1"] == {"value": 0.25, "low": 0.0456, "high": 0.6994}


def test_a_better_rank_scores_higher_in_every_figure() -> None:
    def figures(rank: int | None) -> list[float]:
        all = summarise([a_case("a")], [a_row("a", rank)], Random(1)).all
        return [all.mrr.value, all.ndcg_10.value, *(top.value for top in all.tops.values())]

    scores = [figures(rank) for rank in (1, 2, 4, 6, 11, None)]
    for better, worse in pairwise(scores):
        assert all(a >= b for a, b in zip(better, worse, strict=True))
    assert scores[0] == [1.0] * 6


def test_each_disease_weighs_the_same_in_the_macro_figures() -> None:
    cases = [a_case(str(n)) for n in range(9)] + [a_case("other", "OMIM:2")]
    rows = [a_row(case.id, 1 if case.id == "other" else None) for case in cases]

    found = summarise(cases, rows, Random(1))

    assert found.all.tops[1].value == 0.1
    assert found.strata["macro"].tops[1].value == 0.5
    assert found.strata["macro"].diseases == 2


def test_leaked_cases_are_reported_beside_clean_ones_and_never_alone() -> None:
    leaked, clean = {"pmid_in_kb": True}, {"pmid_in_kb": False}
    both = [a_case("0", flags=leaked), a_case("1", "OMIM:2", flags=clean)]
    rows = [a_row("0", 1), a_row("1", None)]

    found = summarise(both, rows, Random(1)).strata
    assert (found["with"].tops[1].value, found["clean"].tops[1].value) == (1.0, 0.0)
    assert summarise(both[:1], rows[:1], Random(1)).strata.keys() == {"macro"}
    assert {"clean", "clean_macro"} <= summarise(both[1:], rows[1:], Random(1)).strata.keys()
    half_known = [both[0], a_case("2", "OMIM:2")]
    assert "with" not in summarise(half_known, rows, Random(1)).strata


def test_repeated_attempts_count_as_their_mean_and_show_how_stable_the_answer_is() -> None:
    dengue, flu = (Listed(name="Dengue"),), (Listed(name="Flu"),)
    rows = [
        a_row("a", 1, listed=dengue),
        a_row("a", None, attempt=2, listed=flu),
        a_row("b", 1, listed=dengue),
        a_row("b", 1, attempt=2, listed=dengue),
    ]

    found = summarise([a_case("a"), a_case("b")], rows, Random(1))

    assert found.all.n == 2
    assert found.all.tops[1].value == 0.75
    assert found.stable == 0.5


def test_calibration_and_cost_are_unknown_where_the_engine_does_not_say() -> None:
    silent = summarise([a_case("a")], [a_row("a", 1, listed=(Listed(name="x"),))], Random(1))
    assert silent.calibration is None
    assert silent.cost.usd is None

    sure = (Listed(name="x", probability=0.8),)
    rows = [a_row("a", 1, listed=sure, cost_usd=0.25), a_row("b", None, listed=sure, cost_usd=0.5)]
    told = summarise([a_case("a"), a_case("b")], rows, Random(1))
    assert told.calibration is not None
    assert told.calibration.error == 0.3
    assert told.cost.usd == 0.75


def test_a_published_rank_of_a_case_stands_beside_ours_on_the_same_cases() -> None:
    cases = [
        a_case("0", published={"gpt": Published(rank=1)}),
        a_case("1", published={"gpt": Published(rank=None)}),
        a_case("2"),
    ]
    rows = [a_row("0", None), a_row("1", 3), a_row("2", 1)]

    (found,) = peers(cases, rows, Random(1))

    assert (found.method, found.stratum, found.n) == ("gpt", "all", 2)
    assert (found.theirs[1].value, found.ours[1].value) == (0.5, 0.0)
    assert (found.theirs[3].value, found.ours[3].value) == (0.5, 0.5)
    assert found.p[3] == 1.0


def test_two_evaluations_differ_where_one_is_right_and_the_other_is_not() -> None:
    first = [a_row(str(n), 1) for n in range(20)]
    second = [a_row(str(n), 1 if n < 10 else None) for n in range(20)]

    found = compare(first, second, Random(1))
    top, mrr = found.figures[0], found.figures[-1]

    assert found.n == 20
    assert (top.figure, top.only_first, top.only_second) == ("top_1", 10, 0)
    assert top.p == 2 / 2**10
    assert (mrr.figure, mrr.difference.value) == ("mrr", -0.5)
    assert mrr.p < 0.01
    assert all(one.p == 1.0 for one in compare(first, first, Random(1)).figures)
