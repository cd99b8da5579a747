"""A look at what the server did: asked of the ledger once, and kept until it changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from ddx.core.overview import Overview, only, step_for
from ddx.core.report import By, Choices, Question
from ddx.ports import Books

FAILURES = 25
_KEPT = 16
"""Looks that are kept: a page, its charts, and people who look at other times."""
FRESH_S = 5.0
"""So long a look is shown again though rows have come: at a hundred requests a second they come
with every look at the ledger."""

_Key = tuple[Question, tuple[By, ...]]


class Overviews:
    """Answers looks. Safe for threads: one look is asked for at a time."""

    def __init__(self, books: Books, now_s: Callable[[], float]) -> None:
        """Ask nothing yet. `now_s` is a clock that never goes back."""
        self._books = books
        self._now_s = now_s
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, int, Overview]] = OrderedDict()

    def look(self, question: Question, compared_by: tuple[By, ...]) -> Overview:
        """Return all figures over the predictions that a question without `by` chooses.

        Raises LedgerUnavailable.
        """
        name = repr((question, compared_by))
        with self._lock:
            change = self._books.change()
            asked_s, at_change, found = self._kept.get(name, (0.0, -1, None))
            if found is None or (at_change != change and self._now_s() - asked_s > FRESH_S):
                asked_s, at_change, found = (
                    self._now_s(),
                    change,
                    self._ask(question, compared_by, change),
                )
            self._kept[name] = (asked_s, at_change, found)
            self._kept.move_to_end(name)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return found

    def _ask(self, question: Question, compared_by: tuple[By, ...], change: int) -> Overview:
        books = self._books
        choices: Choices = books.choices(question.tenant)
        step = step_for(question, choices)
        (whole,) = books.figures(question)
        failed = question.where.get(By.OUTCOME, "failed") == "failed"
        return Overview(
            question=question,
            step=step,
            all=whole,
            times=books.figures(replace(question, by=(step,))),
            usage=books.figures(replace(question, by=(step, By.MODEL)), counts=True),
            settings=books.figures(replace(question, by=compared_by)),
            compared_by=compared_by,
            errors=books.figures(
                replace(only(question, By.OUTCOME, "failed"), by=(By.ERROR_CODE, By.MODEL)),
                counts=True,
            )
            if failed
            else (),
            failures=books.failures(question, FAILURES),
            choices=choices,
            change=change,
        )
