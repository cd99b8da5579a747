"""Splits that leak nothing, and efforts that stay within their calls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ddx.core.caseset import Case, Truth
from ddx.core.optimizing import Optimizer, effort, split


def cases_of(diseases: list[int]) -> list[Case]:
    return [
        Case(id=str(number), text="Fever.", truth=Truth(name=f"Disease {disease}"))
        for number, disease in enumerate(diseases)
    ]


@given(
    st.lists(st.integers(0, 20), min_size=2, max_size=60),
    st.floats(0.05, 0.95),
    st.integers(0, 5),
)
def test_each_case_is_on_one_side_and_no_disease_on_both(
    diseases: list[int], share: float, seed: int
) -> None:
    cases = cases_of(diseases)
    found = split(cases, share, seed)
    assert sorted([*found.train, *found.test], key=lambda case: int(case.id)) == cases
    assert not {one.disease for one in found.train} & {one.disease for one in found.test}
    again = split(list(reversed(cases)), share, seed)
    assert {one.id for one in again.train} == {one.id for one in found.train}
    if len(set(diseases)) > 1:
        assert found.train
        assert found.test


@given(st.integers(2, 500), st.integers(2, 5_000))
def test_what_miprov2_plans_costs_no_more_than_its_calls_where_two_candidates_can_be_paid(
    train: int, calls: int
) -> None:
    made = effort(Optimizer.MIPROV2, train, calls, 2)
    tried = max(1, train * 4 // 5)
    planned = 5 + made.candidates * (3 + train - tried) + (made.trials + 1) * tried
    assert made.calls == calls
    assert made.candidates >= 2
    assert planned <= calls or (made.candidates, made.trials) == (2, 1)
