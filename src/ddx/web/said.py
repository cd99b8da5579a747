"""The body of feedback, in the shape of CDS Hooks 2.0, and how it becomes a value of ours."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from ddx.core.feedback import Feedback, Reason, Verdict
from ddx.core.record import Code
from ddx.web.schema import blank_is_none

COMMENT_LIMIT = 5_000
MOST = 20
_Short = Annotated[Annotated[str, Field(max_length=300)] | None, BeforeValidator(blank_is_none)]
_Long = Annotated[
    Annotated[str, Field(max_length=COMMENT_LIMIT)] | None, BeforeValidator(blank_is_none)
]


class CodingBody(BaseModel):
    """A code, with its system and its words."""

    code: str = Field(min_length=1, max_length=100, examples=["MONDO:0005502"])
    system: _Short = None
    display: _Short = None


class ReasonBody(BaseModel):
    """Why an answer was overridden."""

    reason: CodingBody | None = None
    userComment: _Long = None  # noqa: N815  (CDS Hooks' own name)


class SuggestionBody(BaseModel):
    """What was accepted."""

    id: str = Field(min_length=1, max_length=200)


class OneBody(BaseModel):
    """One feedback. Something must be in it: an outcome, a true diagnosis, or a comment."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {
                    "outcome": "accepted",
                    "acceptedSuggestions": [{"id": "1"}],
                    "true_diagnosis": "Dengue fever",
                    "comment": "NS1 antigen positive on day 4.",
                }
            ]
        },
    )

    card: _Short = None
    outcome: Verdict | None = None
    acceptedSuggestions: list[SuggestionBody] = Field(default=[], max_length=50)  # noqa: N815
    overrideReason: ReasonBody | None = None  # noqa: N815
    outcomeTimestamp: AwareDatetime | None = None  # noqa: N815
    true_diagnosis: _Short = None
    true_code: CodingBody | None = Field(
        default=None, description="A code of it, best of MONDO, OMIM or ORPHA."
    )
    comment: _Long = None

    @model_validator(mode="after")
    def _something(self) -> OneBody:
        if not (self.outcome or self.true_diagnosis or self.true_code or self.comment):
            raise ValueError("outcome, true_diagnosis, true_code or comment is required")
        return self

    def feedback(self, now: datetime, caller: str) -> Feedback:
        """Return the value that is kept."""
        why = self.overrideReason
        coded = why.reason if why else None
        reason = Reason(
            code=coded.code if coded else None,
            system=coded.system if coded else None,
            display=coded.display if coded else None,
            comment=why.userComment if why else None,
        )
        return Feedback(
            received_at=now,
            caller=caller,
            outcome=self.outcome,
            card=self.card,
            accepted_suggestions=tuple(one.id for one in self.acceptedSuggestions),
            override_reason=None if reason == Reason() else reason,
            outcome_at=self.outcomeTimestamp.astimezone(UTC) if self.outcomeTimestamp else None,
            true_diagnosis=self.true_diagnosis,
            true_code=_code(self.true_code) if self.true_code else None,
            comment=self.comment,
        )


class FeedbackBody(BaseModel):
    """What `POST /predictions/{id}/feedback` takes: CDS Hooks' list, or one of its entries."""

    model_config = ConfigDict(extra="forbid")

    feedback: list[OneBody] = Field(min_length=1, max_length=MOST)

    @model_validator(mode="before")
    @classmethod
    def _one_alone(cls, given: object) -> object:
        alone = isinstance(given, dict) and "feedback" not in given
        return {"feedback": [given]} if alone else given


def _code(body: CodingBody) -> Code:
    """Return the code; where no system is named, its prefix names one, as in `OMIM:154700`."""
    prefix, colon, _ = body.code.partition(":")
    return Code(
        system=body.system or (prefix.upper() if colon else ""),
        code=body.code,
        display=body.display or "",
    )
