"""A report: what was asked, how it ended, how long it took, what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ddx.core import ids
from ddx.core.record import PredictionId
from ddx.core.report import By, Difference, Failure, Figures, Question, differences, said
from ddx.errors import BadQuestion
from ddx.ports import Books


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answer to a question."""

    question: Question
    all: Figures
    groups: tuple[Figures, ...]
    """Empty without `by`."""
    failures: tuple[Failure, ...]
    """The newest ones."""
    compared: tuple[str, str] | None = None
    """Two values of the one `by`, set against each other."""
    differences: tuple[Difference, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as `ddx report --json` prints it."""
        asked = self.question
        return {
            "since": asked.since.isoformat() if asked.since else None,
            "until": asked.until.isoformat() if asked.until else None,
            "where": {by.value: value for by, value in asked.where.items()},
            **self.all.as_json(),
            "by": [one.as_json(asked.by) for one in self.groups],
            "failures": [
                {
                    **asdict(one),
                    "received_at": one.received_at.isoformat(),
                    "run_id": run_id_of(one),
                }
                for one in self.failures
            ],
            "compared": list(self.compared) if self.compared else None,
            "differences": [asdict(one) for one in self.differences],
        }


def run_id_of(failure: Failure) -> str:
    """Return the id of its run, where we write MLflow's store ourselves; elsewhere MLflow
    chooses ids, and the run is found by its tag `ddx.prediction_id`.
    """
    return ids.run_id(PredictionId(failure.prediction_id))


def report(
    books: Books,
    question: Question,
    *,
    failures: int = 20,
    compare: tuple[str, str] | None = None,
) -> Report:
    """Answer a question; `compare` names two values of the one thing that it groups by.

    Raises BadQuestion, LedgerUnavailable.
    """
    (whole,) = books.figures(replace(question, by=()))
    groups = tuple(books.figures(question)) if question.by else ()
    found: tuple[Difference, ...] = ()
    if compare is not None:
        found = differences(*_two(question.by, groups, compare))
    return Report(
        question=question,
        all=whole,
        groups=groups,
        failures=tuple(books.failures(question, failures)) if failures else (),
        compared=compare,
        differences=found,
    )


def _two(
    by: Sequence[By], groups: Sequence[Figures], compare: tuple[str, str]
) -> tuple[Figures, Figures]:
    if len(by) != 1:
        raise BadQuestion("a comparison needs one --by, whose values it compares")
    named: Mapping[str, Figures] = {said(one.key[0]): one for one in groups}
    for value in compare:
        if value not in named:
            there = ", ".join(list(named)[:20]) or "none"
            raise BadQuestion(
                f"there is no {by[0].value} {value!r} in that time; there are {there}"
            )
    return named[compare[0]], named[compare[1]]
