"""What people say of an answer afterwards, in the shape of CDS Hooks feedback.

Each is an event of its own: the record of the prediction, and its digest, stay as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from ddx.core.caseset import Case, Truth
from ddx.core.record import Answered, Code, Outcome, Prediction

TRUTH_SYSTEMS = ("MONDO", "OMIM", "ORPHA")
"""Systems that name one disease, and that a truth's ids are of."""
PROBLEM = "problem"
"""Our own reason code: somebody reports that something is wrong with the answer."""


class Verdict(StrEnum):
    """What became of the answer, in the words of CDS Hooks."""

    ACCEPTED = "accepted"
    OVERRIDDEN = "overridden"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why an answer was overridden: a coded reason, words, or both."""

    code: str | None = None
    system: str | None = None
    display: str | None = None
    comment: str | None = None
    """CDS Hooks' `userComment`. May be about the patient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One thing that somebody said of one prediction. Patient data, as the case is."""

    received_at: datetime
    """In UTC, with tzinfo."""
    caller: str = "anonymous"
    """The API key's id."""
    outcome: Verdict | None = None
    """None where only a true diagnosis or a comment came."""
    card: str | None = None
    """What it is about, as the caller names it; None: the whole answer."""
    accepted_suggestions: tuple[str, ...] = ()
    """Ids of what was accepted; the page sends ranks."""
    override_reason: Reason | None = None
    outcome_at: datetime | None = None
    """When the clinician decided, as the caller says."""
    true_diagnosis: str | None = None
    """What the patient had, in words."""
    true_code: Code | None = None
    comment: str | None = None


def same(one: Feedback, other: Feedback) -> bool:
    """Say whether two say the same thing, whenever they came."""
    return replace(one, received_at=other.received_at) == other


def tags(said: Sequence[Feedback]) -> dict[str, str | None]:
    """Return what a run's tags show of feedback: the last word on each, and no free comment.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 1, tzinfo=UTC)
    >>> shown = tags([Feedback(received_at=noon, outcome=Verdict.OVERRIDDEN),
    ...               Feedback(received_at=noon, true_diagnosis="Malaria")])
    >>> {name: value for name, value in shown.items() if value}
    {'ddx.feedback': 'overridden', 'ddx.feedback_count': '2', 'ddx.true_diagnosis': 'Malaria'}
    """
    verdict = next((one.outcome for one in reversed(said) if one.outcome), None)
    reason = next((one.override_reason for one in reversed(said) if one.override_reason), None)
    told = _true(said)
    return {
        "ddx.feedback": verdict.value if verdict else None,
        "ddx.feedback_count": str(len(said)) if said else None,
        "ddx.feedback_reason": reason.code if reason else None,
        "ddx.true_diagnosis": told.true_diagnosis if told else None,
        "ddx.true_code": told.true_code.code if told and told.true_code else None,
    }


def case_of(prediction: Prediction, said: Sequence[Feedback]) -> Case | None:
    """Return a case with its truth, None where nobody named the true diagnosis.

    The last word counts. A case whose text names the disease says so: `ddx evaluate` leaves it
    out, for it asks nothing. A name that the answer had too, or a code, gains the ids or the name
    that the answer gave it.
    """
    told, request = _true(said), prediction.request
    if told is None:
        return None
    names = _names(prediction.outcome)
    code = told.true_code
    ids: tuple[str, ...] = (code.code,) if code and code.system in TRUTH_SYSTEMS else ()
    name = told.true_diagnosis or (code.display or _named(names, code.code) if code else "")
    if not ids:
        ids = names.get(name.casefold(), (name, ()))[1]
    return Case(
        id=prediction.id,
        text=request.case,
        findings=request.findings,
        truth=Truth(name=name, ids=ids),
        flags={"name_in_text": bool(name) and name.casefold() in request.case.casefold()},
    )


def rank_of_truth(prediction: Prediction, said: Feedback) -> int | None:
    """Return where the answer has the true diagnosis, by code or by name; 0: it is not listed.

    None where no truth was said, or there is no list.
    """
    outcome = prediction.outcome
    if not isinstance(outcome, Answered) or not (said.true_diagnosis or said.true_code):
        return None
    name = (said.true_diagnosis or "").casefold()
    code = said.true_code.code if said.true_code else None
    for rank, one in enumerate(outcome.diagnoses, start=1):
        if one.name.casefold() == name or (code and code in {found.code for found in one.codes}):
            return rank
    return 0


def _true(said: Sequence[Feedback]) -> Feedback | None:
    return next((one for one in reversed(said) if one.true_diagnosis or one.true_code), None)


def _names(outcome: Outcome | None) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return each diagnosis of an answer by its name without case: its name and its ids."""
    if not isinstance(outcome, Answered):
        return {}
    return {
        one.name.casefold(): (
            one.name,
            tuple(code.code for code in one.codes if code.system in TRUTH_SYSTEMS),
        )
        for one in outcome.diagnoses
    }


def _named(names: dict[str, tuple[str, tuple[str, ...]]], code: str) -> str:
    return next((name for name, ids in names.values() if code in ids), code)
