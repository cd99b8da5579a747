"""Words of a case against the words about each disease."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddx.adapters.knowledge.case import Case, Finding
from ddx.adapters.knowledge.index import Index
from ddx.adapters.knowledge.ranking import Ranker
from ddx.adapters.knowledge.signal import HALF, K1, B, TextSignal, word_arrays
from ddx.core.record import Setting

DOCUMENTS = [
    ["zebra stripes and zebra hooves"],
    ["horse hooves"],
    ["teapots"],
    ["kettles"],
    ["spoons"],
    [],
]


def signal(documents: list[list[str]]) -> TextSignal:
    arrays, vocabulary = word_arrays(documents)
    strings = {"text_words": vocabulary, "diseases": documents}
    return TextSignal(Index(arrays, strings, "0" * 64, "x"))


def test_a_words_weight_is_bm25s() -> None:
    arrays, vocabulary = word_arrays(DOCUMENTS)
    row = vocabulary.index("zebra")
    at = slice(*arrays["text_ptr"][row : row + 2])

    lengths = [4, 2, 1, 1, 1, 0]  # "and" tells nothing of a disease
    often, mean = 2, sum(lengths) / 6
    rare = math.log(1 + (6 - 1 + 0.5) / (1 + 0.5))
    expected = rare * often * (K1 + 1) / (often + K1 * (1 - B + B * 4 / mean))

    assert arrays["text_document"][at].tolist() == [0]
    assert arrays["text_weight"][at].tolist() == pytest.approx([expected], rel=1e-6)


def test_a_word_that_too_many_documents_have_is_left_out() -> None:
    _, vocabulary = word_arrays(DOCUMENTS)
    assert "hoove" not in vocabulary
    assert "zebra" in vocabulary


def test_other_texts_make_a_word_common_and_are_not_found() -> None:
    plain, words = word_arrays(DOCUMENTS)
    with_others, same_words = word_arrays(DOCUMENTS, ["a zebra here"] * 20)
    row = words.index("zebra")
    assert words == same_words
    assert with_others["text_document"].max() < len(DOCUMENTS)
    at = plain["text_ptr"][row]
    assert with_others["text_weight"][at] < plain["text_weight"][at]


def test_the_disease_of_the_cases_words_stands_out() -> None:
    standing = signal(DOCUMENTS).standing("He saw zebras.")
    assert standing is not None
    assert standing.argmax() == 0
    assert standing.mean() == pytest.approx(0, abs=1e-6)
    assert standing.std() == pytest.approx(1 / (1 + HALF), rel=1e-5)


def test_of_more_words_more_is_believed() -> None:
    every = [["zebra stripes hooves"], ["horse"], ["teapots"], ["kettles"], ["spoons"], []]
    few, many = (signal(every).standing(text) for text in ("zebra", "zebra with stripes"))
    assert few is not None
    assert many is not None
    assert few.std() < many.std()


@pytest.mark.parametrize("text", ["", "?!", "unheard of words", "Two days ago he felt unwell."])
def test_words_that_no_disease_has_say_nothing(text: str) -> None:
    assert signal(DOCUMENTS).standing(text) is None


@given(st.permutations(["zebra", "horse", "teapot", "spoon"]))
def test_the_order_of_words_does_not_matter(said: list[str]) -> None:
    found = signal(DOCUMENTS).standing(" ".join(said))
    again = signal(DOCUMENTS).standing("zebra horse teapot spoon")
    assert found is not None
    assert again is not None
    assert np.allclose(found, again)


def test_words_move_a_disease_up_and_leave_out_what_is_not_described(index: Index) -> None:
    ranker = Ranker(index)
    case = Case(present=(Finding(term=0),))
    plain = ranker.rank(case)
    # As rows: 'Focal disease', 'Hot disease', 'Empty disease'.
    moved = ranker.rank(case, Setting.GENETICS, np.array([0.0, 2.0, 9.0]))
    assert moved.scores[1] - plain.scores[1] == pytest.approx(2 * ranker.weights.text_names)
    assert 2 not in moved.order
