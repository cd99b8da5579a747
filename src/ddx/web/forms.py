"""The forms of what is sent, for the OpenAPI document. Tests hold every reply against them.

Replies are made by core/response, because they are part of the record. Fields may be added to
them: a reader lets pass what it does not know.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

Absent = SkipJsonSchema[None]
"""A field that is left out where there is nothing to say: never null."""


class Form(BaseModel):
    """What all have in common."""

    model_config = ConfigDict(extra="allow")


class Code(Form):
    """A disease in a public terminology."""

    system: str = Field(description="MONDO, OMIM, ORPHA, ICD-10 or ICD-10-CM.")
    code: str = Field(examples=["MONDO:0005502"])
    display: str


class Basis(Form):
    """What a likelihood ratio was computed from."""

    code: str = Field(description="HPO id of the finding that the sources describe.")
    finding: str
    share: float = Field(ge=0, le=1, description="Share of the patients who have it.")
    background: float = Field(ge=0, le=1, description="Share of all who come to the setting.")
    weight: float


class Evidence(Form):
    """A finding that speaks for or against a diagnosis."""

    finding: str
    quote: str | None = Field(description="Stands in the case at [start, end).")
    start: int | None
    end: int | None
    code: str | Absent = Field(default=None, description="HPO id, where known.")
    likelihood_ratio: float | Absent = Field(default=None, description="Where computed.")
    source: str | Absent = Field(default=None, description="Where the annotation stands.")
    basis: Basis | Absent = None


class Diagnosis(Form):
    """One entry of the list, most likely first."""

    rank: int = Field(ge=1)
    diagnosis: str
    likelihood: Literal["High", "Moderate-High", "Moderate", "Low-Moderate", "Low"]
    summarised_rationale: list[dict[str, str]] = Field(
        max_length=3, description='At most three lines, as {"1": "…"}.'
    )
    rationale: list[dict[str, str]] = Field(
        description='Such as {"Clinical Relevance and Features": "…"}.'
    )
    probability: float | None = Field(ge=0, le=1)
    codes: list[Code] = Field(description="Codes of one disease only.")
    supporting: list[Evidence]
    contradicting: list[Evidence]
    urgency: str | None
    next_steps: list[str]


class Differential(Form):
    """The answer: a ranked list, or the word that the case has too little detail."""

    outcome: Literal["answered", "insufficient_information"]
    result: list[Diagnosis] = Field(description="Empty where there is too little detail.")
    conclusion: str
    further_questions: list[dict[str, str]]
    missing_information: list[str]
    disclaimer: str


class Said(Form):
    """One feedback as it is kept; what was not said is left out."""

    received_at: datetime
    outcome: Literal["accepted", "overridden"] | Absent = None
    card: str | Absent = None
    acceptedSuggestions: list[dict[str, str]] | Absent = None  # noqa: N815  (CDS Hooks)
    overrideReason: dict[str, str | dict[str, str]] | Absent = None  # noqa: N815
    outcomeTimestamp: datetime | Absent = None  # noqa: N815
    true_diagnosis: str | Absent = None
    true_code: Code | Absent = None
    comment: str | Absent = None


class Prediction(Form):
    """A prediction that was answered, as it is kept."""

    status: Literal["success"]
    prediction_id: str
    model_name: str
    prompt_version: int | None
    data: Differential
    feedback: list[Said] | Absent = Field(
        default=None, description="Of `GET /predictions/{id}` alone, where somebody gave some."
    )
    masked: dict[str, int] | None = Field(
        default=None,
        description="With privacy on: what was masked in the case. Quotes stand in that text.",
    )


class Problem(Form):
    """An error, as RFC 9457 has it. `code` is stable."""

    type: str = Field(examples=["urn:ddx:error:model_deadline"])
    title: str
    status: int
    code: str
    detail: str
    advice: str
    field: str | Absent = Field(default=None, description="The field at fault, where one is.")
    prediction_id: str | Absent = Field(
        default=None, description="Of the record, where there is one."
    )


class Accepted(Form):
    """Data of the event `accepted`: the request is on stable storage."""

    prediction_id: str


class Health(Form):
    """A sign of life."""

    status: str


class Check(Form):
    """What a look found."""

    name: str
    ok: bool
    found: str
    advice: str | Absent = None


class Readiness(Form):
    """Whether a request would be taken now."""

    status: Literal["ready", "not ready"]
    checks: list[Check]


class Summary(Form):
    """One prediction in a listing, without its case."""

    prediction_id: str
    received_at: datetime
    model_name: str
    prompt_version: int | None = Field(description="As asked.")
    outcome: str | None = Field(description="null while it runs.")
    status: int | None = Field(description="HTTP status of its reply; null while it runs.")
    error_code: str | None
    duration_s: float | None
    tracker: str | None
    retry_of: str | None


class Listing(Form):
    """A page of predictions, newest first."""

    predictions: list[Summary]
    next: str | None = Field(description="Send it as `before` for the next page; null at the end.")


class LookForm(Form):
    """One look at predictions, by a client, a page or a command."""

    seq: int = Field(ge=1)
    at: datetime
    caller: str
    act: str
    prediction_ids: list[str]
    about: str


class Looks(Form):
    """Looks, newest first."""

    looks: list[LookForm]


class Batch(Form):
    """How far a batch is."""

    batch_id: str
    status: Literal["running", "done"]
    created_at: datetime
    total: int = Field(ge=1)
    finished: int = Field(ge=0)
    outcomes: dict[str, int] = Field(
        description="How many of the finished ended how: `answered`, `insufficient_information`,"
        " or an error's code."
    )
    status_url: str
    results_url: str


class BatchLine(Form):
    """One line of a batch's results."""

    index: int = Field(ge=0, description="The case's place in the batch.")
    status: int = Field(description="HTTP status that the case alone would have had.")
    prediction_id: str | None = Field(description="null where the case was refused.")
    tracker: str | None = Field(description="The case's own, or the one that it was given.")
    reply: Prediction | Problem


class FeedbackKept(Form):
    """Feedback is on stable storage: all that was said of the prediction, in order."""

    status: Literal["success"]
    prediction_id: str
    feedback: list[Said]


ALL: tuple[type[Form], ...] = (
    Prediction,
    Problem,
    Accepted,
    Diagnosis,
    Health,
    Readiness,
    Listing,
    Looks,
    Batch,
    BatchLine,
    FeedbackKept,
)
