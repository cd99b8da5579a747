"""What a server says, as values. Fields that this version does not know are let pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from ddx.client.errors import BadReply, Problem

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A disease in a public terminology."""

    system: str
    """MONDO, OMIM, ORPHA, ICD-10 or ICD-10-CM."""
    code: str
    display: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A finding that speaks for or against a diagnosis."""

    finding: str
    quote: str | None
    """`case[start:end]`; None where the finding came as a code or is not in the text."""
    start: int | None
    end: int | None
    code: str | None
    """HPO id, where known."""
    likelihood_ratio: float | None
    """None where not computed."""
    source: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One entry of the list. In a stream it is provisional: the `Answer` counts."""

    rank: int
    """From 1."""
    name: str
    likelihood: str
    """High, Moderate-High, Moderate, Low-Moderate or Low."""
    summary: tuple[str, ...]
    """At most three lines."""
    rationale: Mapping[str, str]
    probability: float | None
    """In [0, 1], calibrated; None where the engine has none."""
    codes: tuple[Code, ...]
    supporting: tuple[Evidence, ...]
    contradicting: tuple[Evidence, ...]
    urgency: str | None
    next_steps: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A prediction that was answered, as it is kept."""

    prediction_id: str
    model_name: str
    prompt_version: int | None
    outcome: str
    """`answered`, or `insufficient_information`: then there are no diagnoses."""
    diagnoses: tuple[Diagnosis, ...]
    """Most likely first."""
    conclusion: str
    further_questions: tuple[str, ...]
    missing_information: tuple[str, ...]
    disclaimer: str
    raw: Mapping[str, Any] = field(repr=False)
    """The whole reply, with the fields that this version does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The first of a stream: the request is on stable storage."""

    prediction_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """How far a batch is."""

    id: str
    done: bool
    created_at: datetime
    total: int
    finished: int
    outcomes: Mapping[str, int]
    """How many of the finished ended how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What came of one case: either an answer or a problem."""

    index: int
    """The case's place in the batch, from 0."""
    tracker: str | None
    prediction_id: str | None
    answer: Answer | None
    problem: Problem | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One prediction in a listing."""

    prediction_id: str
    received_at: datetime
    model_name: str
    outcome: str | None
    """None while it runs."""
    status: int | None
    error_code: str | None
    duration_s: float | None
    tracker: str | None
    retry_of: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A sign of life."""

    status: str
    version: str | None


def read(make: Callable[[Any], T], text: bytes | str) -> T:
    """Return what `make` makes of a JSON document. Raises BadReply where it cannot."""
    try:
        return make(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # From None: the cause may hold the text.
        raise BadReply(f"The reply has another form ({type(error).__name__}).") from None


def answer(body: Mapping[str, Any]) -> Answer:
    """Return the reply of a prediction that was answered."""
    data = body["data"]
    return Answer(
        prediction_id=body["prediction_id"],
        model_name=body["model_name"],
        prompt_version=body.get("prompt_version"),
        outcome=data["outcome"],
        diagnoses=tuple(diagnosis(entry) for entry in data["result"]),
        conclusion=data.get("conclusion", ""),
        further_questions=_lines(data.get("further_questions")),
        missing_information=tuple(data.get("missing_information") or ()),
        disclaimer=data.get("disclaimer", ""),
        raw=body,
    )


def diagnosis(entry: Mapping[str, Any]) -> Diagnosis:
    """Return one entry of the list."""
    rationale = entry.get("rationale") or ()
    return Diagnosis(
        rank=entry["rank"],
        name=entry["diagnosis"],
        likelihood=entry["likelihood"],
        summary=_lines(entry.get("summarised_rationale")),
        rationale={title: text for part in rationale for title, text in part.items()},
        probability=entry.get("probability"),
        codes=tuple(
            Code(system=one["system"], code=one["code"], display=one["display"])
            for one in entry.get("codes") or ()
        ),
        supporting=_evidence(entry.get("supporting")),
        contradicting=_evidence(entry.get("contradicting")),
        urgency=entry.get("urgency"),
        next_steps=tuple(entry.get("next_steps") or ()),
    )


def problem(body: Mapping[str, Any]) -> Problem:
    """Return a problem document."""
    return Problem(
        status=int(body["status"]),
        code=body["code"],
        detail=body.get("detail", ""),
        advice=body.get("advice", ""),
        field=body.get("field"),
        prediction_id=body.get("prediction_id"),
    )


def accepted(body: Mapping[str, Any]) -> Accepted:
    """Return the first event of a stream."""
    return Accepted(prediction_id=body["prediction_id"])


def batch_status(body: Mapping[str, Any]) -> BatchStatus:
    """Return how far a batch is."""
    return BatchStatus(
        id=body["batch_id"],
        done=body["status"] == "done",
        created_at=datetime.fromisoformat(body["created_at"]),
        total=body["total"],
        finished=body["finished"],
        outcomes=dict(body["outcomes"]),
    )


def batch_result(line: Mapping[str, Any]) -> BatchResult:
    """Return one line of a batch's results."""
    well = line["status"] == 200
    return BatchResult(
        index=line["index"],
        tracker=line.get("tracker"),
        prediction_id=line["prediction_id"],
        answer=answer(line["reply"]) if well else None,
        problem=None if well else problem(line["reply"]),
    )


def batch_results(lines: bytes) -> list[BatchResult]:
    """Return the lines of a batch's results. Raises BadReply."""
    # Not splitlines: a text may hold other line breaks than this one.
    return [read(batch_result, line) for line in lines.split(b"\n") if line]


def page(body: Mapping[str, Any]) -> tuple[list[Summary], str | None]:
    """Return a page of a listing, and where the next one begins."""
    return [summary(one) for one in body["predictions"]], body["next"]


def summary(body: Mapping[str, Any]) -> Summary:
    """Return one entry of a listing."""
    names = ("model_name", "outcome", "status", "error_code", "duration_s", "tracker", "retry_of")
    return Summary(
        prediction_id=body["prediction_id"],
        received_at=datetime.fromisoformat(body["received_at"]),
        **{name: body[name] for name in names},
    )


def health(body: Mapping[str, Any]) -> Health:
    """Return a sign of life."""
    return Health(status=body["status"], version=body.get("version"))


def _evidence(entries: Sequence[Mapping[str, Any]] | None) -> tuple[Evidence, ...]:
    names = ("quote", "start", "end", "code", "likelihood_ratio", "source")
    return tuple(
        Evidence(finding=one["finding"], **{name: one.get(name) for name in names})
        for one in entries or ()
    )


def _lines(numbered: Sequence[Mapping[str, str]] | None) -> tuple[str, ...]:
    """Return the texts of `[{"1": "…"}, {"2": "…"}]`."""
    return tuple(text for one in numbered or () for text in one.values())
