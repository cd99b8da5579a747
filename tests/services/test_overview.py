"""A look is asked once and kept until the ledger changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ddx.core.overview import compared, name_of
from ddx.core.report import By, Choices, Failure, Figures, Question
from ddx.services.overview import FRESH_S, Overviews


class Counted:
    """Books that count how often they are asked for everything."""

    def __init__(self) -> None:
        self.asked = 0
        self.at = 1

    def change(self) -> int:
        return self.at

    def figures(self, question: Question, *, counts: bool = False) -> Sequence[Figures]:
        if not question.by:
            self.asked += 1
            return [Figures(predictions=self.at)]
        return []

    def failures(self, question: Question, limit: int) -> Sequence[Failure]:
        return []

    def choices(self, tenant: str | None = None) -> Choices:
        return Choices()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


BY = (By.MODEL,)


def test_a_look_is_kept_while_nothing_changes() -> None:
    books, clock = Counted(), Clock()
    looks = Overviews(books, clock)
    first = looks.look(Question(), BY)
    clock.now += 10 * FRESH_S
    assert looks.look(Question(), BY) is first
    assert looks.look(Question(where={By.MODEL: "x"}), BY) is not first
    assert looks.look(Question(), (By.CALLER,)) is not first
    assert books.asked == 3


def test_a_change_is_shown_some_seconds_later() -> None:
    books, clock = Counted(), Clock()
    looks = Overviews(books, clock)
    looks.look(Question(), BY)
    books.at = 2
    clock.now += FRESH_S / 2
    assert looks.look(Question(), BY).all.predictions == 1
    clock.now += FRESH_S
    assert looks.look(Question(), BY).all.predictions == 2


def test_looks_that_nobody_wants_any_more_are_forgotten() -> None:
    books = Counted()
    looks = Overviews(books, Clock())
    for number in range(100):
        looks.look(Question(where={By.MODEL: str(number)}), BY)
    looks.look(Question(where={By.MODEL: "0"}), BY)
    assert books.asked == 101


def test_two_groups_are_compared_by_their_names() -> None:
    one = Figures(key=("gpt-4o", None), predictions=100, answered=95)
    other = replace(one, key=("gpt-4o", 1), answered=80)
    assert name_of(one) == "gpt-4o, none"
    (found,) = compared([one, other], "gpt-4o, none", "gpt-4o, 1")
    assert found.p < 0.01
    assert compared([one, other], "gpt-4o, none", "gone") == ()
