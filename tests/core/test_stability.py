"""How alike the answers to one case are."""

from __future__ import annotations

from random import Random

from ddx.core.evaluation import Row
from ddx.core.grading import Listed
from ddx.core.stability import stability


def a_row(case: str, attempt: int, *names: str, outcome: str = "answered") -> Row:
    listed = tuple(
        Listed(name=name, ids=("MONDO:1",) if name.startswith("flu") else ()) for name in names
    )
    return Row(case_id=case, attempt=attempt, outcome=outcome, listed=listed, duration_s=1.0)


def test_the_means_are_over_cases_so_that_a_case_with_more_pairs_counts_no_more() -> None:
    rows = [
        a_row("a", 1, "Malaria", "flu"),
        a_row("a", 2, "malaria", "flu, seasonal", "Dengue", "Typhoid"),
        a_row("b", 1, "x", "y"),
        a_row("b", 2, "y", "x"),
        a_row("b", 3, "x", "y"),
    ]

    found = stability(rows, str.casefold, Random(1))

    assert found is not None
    assert (found.cases, found.pairs) == (2, 4)
    assert found.first.value == round((1 + 1 / 3) / 2, 6)
    assert found.overlap.value == (2 / 4 + 1) / 2
    assert found.first.low <= found.first.value <= found.first.high


def test_refusals_are_alike_and_failures_are_left_out() -> None:
    refused = "insufficient_information"
    rows = [
        a_row("a", 1, outcome=refused),
        a_row("a", 2, outcome=refused),
        a_row("a", 3, outcome="failed"),
        a_row("b", 1, "x"),
        a_row("b", 2, outcome=refused),
        a_row("c", 1, "x"),
        a_row("c", 2, outcome="failed"),
    ]

    found = stability(rows, str.casefold, Random(1))

    assert found is not None
    assert (found.cases, found.pairs) == (2, 2)
    assert (found.first.value, found.overlap.value) == (0.5, 0.5)


def test_one_answer_for_each_case_says_nothing_of_stability() -> None:
    assert stability([a_row("a", 1, "x"), a_row("b", 1, "x")], str.casefold, Random(1)) is None


def test_what_is_listed_beyond_five_places_does_not_count() -> None:
    five = ("v", "w", "x", "y", "z")

    found = stability(
        [a_row("a", 1, *five, "p"), a_row("a", 2, *five, "q")], str.casefold, Random(1)
    )

    assert found is not None
    assert found.overlap.value == 1.0
