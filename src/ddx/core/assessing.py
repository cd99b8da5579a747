"""Feedback as assessments of a trace: what people said of an answer, each thing once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ddx.core.feedback import PROBLEM, Feedback, Verdict, rank_of_truth
from ddx.core.record import Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """One thing that was said."""

    key: str
    """The same for the same feedback: who finds it there adds nothing."""
    name: str
    """`accepted`, `problem`, `true_diagnosis_rank` or `true_diagnosis`."""
    value: bool | int | str
    expected: bool = False
    """Whether it says what the answer should have been."""
    by: str
    """The API key's id."""
    at: datetime
    comment: str | None = None


def assessments(
    prediction: Prediction, said: Sequence[Feedback], *, content: bool
) -> list[Assessment]:
    """Return all that was said of a prediction, in its order.

    Without `content` there is no word that somebody wrote: the true diagnosis is told as its rank
    in the answer, 0 where it is not listed.
    """
    found = list[Assessment]()
    for number, one in enumerate(said, start=1):
        reason = one.override_reason
        comment = one.comment or (reason.comment if reason else None)
        values: dict[str, bool | int | str | None] = {
            "accepted": None if one.outcome is None else one.outcome is Verdict.ACCEPTED,
            "problem": True if reason and reason.code == PROBLEM else None,
            "true_diagnosis_rank": rank_of_truth(prediction, one),
            "true_diagnosis": one.true_diagnosis if content else None,
        }
        found += [
            Assessment(
                key=f"{number}.{name}",
                name=name,
                value=value,
                expected=name == "true_diagnosis",
                by=one.caller,
                at=one.received_at,
                comment=comment if content else None,
            )
            for name, value in values.items()
            if value is not None
        ]
    return found
