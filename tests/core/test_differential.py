"""Quotes and likelihood words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ddx.core.differential import find_quote, likelihood_of, quoted


@given(st.text(), st.text())
def test_a_quote_that_is_found_stands_at_its_place(case: str, quote: str) -> None:
    evidence = quoted(case, "finding", quote)
    if evidence is not None:
        assert evidence.quote == case[evidence.start : evidence.end]
        assert evidence.quote


@given(st.lists(st.sampled_from(["fever", "cough", "3", "days", "pain"]), min_size=1))
def test_words_of_the_case_are_found_whatever_their_letters_and_spaces(words: list[str]) -> None:
    case = "Seen today: " + " ".join(words) + "."
    assert find_quote(case, "  ".join(words).upper()) is not None


def test_a_quote_does_not_begin_or_end_inside_a_word() -> None:
    assert find_quote("He has chills.", "ill") is None
    assert find_quote("He is ill.", "ill") == (6, 9)


def test_quotation_marks_around_a_quote_do_not_count() -> None:
    assert find_quote("The patient\u2019s leg", "\u201cpatient's leg\u201d") == (4, 17)


def test_an_empty_quote_stands_nowhere() -> None:
    assert find_quote("case", " \u2026 ") is None


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_probability_is_never_a_lower_word(a: float, b: float) -> None:
    order = ["Low", "Low-Moderate", "Moderate", "Moderate-High", "High"]
    low, high = sorted((a, b))
    assert order.index(likelihood_of(low)) <= order.index(likelihood_of(high))
