"""The record that flows: one request and all that came of it.

Everything else is computed from it: the answer, the MLflow run, the dashboard row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, NewType

PredictionId = NewType("PredictionId", str)


class Likelihood(StrEnum):
    """How well a diagnosis fits, in the five words that clinicians read."""

    HIGH = "High"
    MODERATE_HIGH = "Moderate-High"
    MODERATE = "Moderate"
    LOW_MODERATE = "Low-Moderate"
    LOW = "Low"


class Setting(StrEnum):
    """Whose base rates the knowledge engine uses."""

    PRIMARY_CARE = "primary_care"
    EMERGENCY = "emergency"
    GENETICS = "genetics"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """A case as codes: HPO ids, with or without a text beside them."""

    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    sex: str | None = None
    """MALE, FEMALE, OTHER_SEX or UNKNOWN_SEX, as GA4GH phenopackets say it."""
    age: str | None = None
    """ISO 8601 duration (`P3Y2M`) or an HPO onset label (`Infantile onset`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asked for, as received."""

    case: str = ""
    """Patient data: appears in no log line. Empty where only `findings` came."""
    findings: Findings | None = None
    phenopacket: str | None = None
    """The JSON that `findings` were read from, where the case came so. No engine sees it: it may
    hold the diagnosis."""
    model_name: str
    """As asked, or the configured default. Not always a model that exists."""
    prompt_version: int | None = None
    """None means the model's own."""
    tracker: str | None = None
    setting: Setting = Setting.PRIMARY_CARE
    temperature: float | None = None
    max_tokens: int | None = None
    top_k: int | None = None
    top_differential: int = 5
    """Length of the list wanted, 1 to 50."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A disease in a public terminology."""

    system: str
    """MONDO, OMIM, ORPHA, ICD-10, ICD-10-CM."""
    code: str
    display: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a likelihood ratio was computed from.

    Of a present finding it is `(share / background) ** weight`, of an absent one
    `((1 - share) / (1 - background)) ** weight`; shares above 0.95 count as 0.95 there.
    """

    code: str
    """HPO id of the finding that the sources describe: the case's own, or one above it."""
    finding: str
    share: float
    """Share of the patients with this disease who have it, in [0, 1], as the sources say; 0.0
    where a source says that it is not part of the disease: then the ratio is a constant."""
    background: float
    """Share of all who come to the setting, whatever their disease."""
    weight: float = 1.0
    """Less than 1 where the finding lies above the case's, and for what is absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A finding that speaks for or against a diagnosis."""

    finding: str
    quote: str | None = None
    """`case[start:end]`; None where the finding came as a code or is absent from the text."""
    start: int | None = None
    end: int | None = None
    code: str | None = None
    """The HPO id, where known."""
    likelihood_ratio: float | None = None
    """P(finding | disease) / P(finding | no disease); None where not computed."""
    source: str | None = None
    """Where the annotation stands, as `OMIM:154700` or `PMID:20591885`."""
    basis: Basis | None = None
    """None where there is no likelihood ratio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One entry of the list. Its rank is its place, from 1."""

    name: str
    likelihood: Likelihood
    probability: float | None = None
    """In [0, 1], calibrated; None where the engine has none."""
    codes: tuple[Code, ...] = ()
    """Codes of one disease only."""
    supporting: tuple[Evidence, ...] = ()
    contradicting: tuple[Evidence, ...] = ()
    clinical_relevance: str = ""
    lack_of_fit: str = ""
    urgency: str | None = None
    """emergency, urgent or routine."""
    next_steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A ranked differential."""

    kind: ClassVar[str] = "answered"
    diagnoses: tuple[Diagnosis, ...]
    """Most likely first, at least one."""
    conclusion: str = ""
    further_questions: tuple[str, ...] = ()
    missing_information: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """The case has too little detail. An answer, not an error."""

    kind: ClassVar[str] = "insufficient_information"
    reason: str
    further_questions: tuple[str, ...] = ()
    missing_information: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """No answer. `code` is one of errors.py; `message` holds no patient text."""

    kind: ClassVar[str] = "failed"
    code: str
    message: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The caller left before the answer."""

    kind: ClassVar[str] = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """The process died before the outcome was known."""

    kind: ClassVar[str] = "interrupted"


Outcome = Answered | Declined | Failed | Cancelled | Interrupted


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmSettings:
    """What went over the wire, not what was configured. None: the engine has no such setting."""

    model: str | None = None
    """As called, `gemini/gemini-2.0-flash`."""
    max_tokens: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    prompt_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One attempt at the LLM."""

    attempt: int
    """From 1."""
    purpose: str
    """`predict`, or `repair` after an answer that could not be read."""
    model: str
    """As called, not as asked for: they differ after a fallback."""
    model_answered: str | None = None
    """As the provider names what answered."""
    sent: dict[str, str | int | float | bool | None]
    """Parameters as sent."""
    dropped: tuple[str, ...] = ()
    """Parameters the model does not take: not sent."""
    output: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None
    """None when there is no price; 0.0 means free."""
    latency_s: float
    """From the request leaving this process to the last byte."""
    started_at: datetime | None = None
    """When the request left, by the wall clock: for showing, never for order or durations. None
    in records of earlier versions."""
    request_id: str | None = None
    """The provider's own."""
    error: str | None = None
    """Class of the error, without its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A place of a list that was fused into another."""

    name: str
    probability: float | None = None
    codes: tuple[Code, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """One of the lists that an answer was fused from."""

    engine: str
    """`llm` or `knowledge`."""
    diagnoses: tuple[Ranked, ...] = ()
    """Likeliest first; none where the engine found too little."""
    program_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAnswer:
    """All that came of asking an engine."""

    outcome: Outcome
    settings: LlmSettings = LlmSettings()
    calls: tuple[ModelCall, ...] = ()
    prompt_used: str | None = None
    """The messages as sent; where no LLM is asked, the engine's exact input and settings."""
    raw_output: str | None = None
    """What the LLM said; where none is asked, the engine's raw ranking."""
    prompt_digest: str | None = None
    program_digest: str | None = None
    unsupported_quotes: int = 0
    """Quotes that were claimed and do not stand in the case: left out, and counted."""
    rankings: tuple[Ranking, ...] = ()
    """The lists that the answer was fused from; none where one engine answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a prediction gains, once."""

    duration_s: float | None = None
    """Monotonic, from receipt until the answer was ready. None where interrupted."""
    answer: EngineAnswer
    status: int
    """HTTP status of the reply."""
    body: str
    """The reply as sent; its UTF-8 form is final_response.txt. Empty where none was sent."""


INTERRUPTION = Completion(answer=EngineAnswer(outcome=Interrupted()), status=503, body="")
"""What a prediction gains whose process died: no duration, for nobody saw its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One request and all that came of it.

    Saved before the engine is asked, and again when the outcome is known.
    """

    id: PredictionId
    """UUIDv7: ordered by time, and the tag that makes a delivery repeatable."""
    received_at: datetime
    """In UTC, with tzinfo."""
    request: Request
    caller: str = "anonymous"
    """The API key's id; scope of the tracker."""
    instance: str
    """The server process that took it."""
    version: str
    """Of this program."""
    salt: str
    """Random, 32 hex digits: without it the digest would let a short case be guessed."""
    retry_of: PredictionId | None = None
    replay_of: PredictionId | None = None
    """The earlier prediction whose case this one asks again, by `ddx replay`."""
    masked: dict[str, int] | None = None
    """How often each kind of what identifies a person was masked in the case, before anything
    was kept: places and quotes are of the masked case. None where nothing was looked for."""
    completion: Completion | None = None
    """None while the engine is being asked."""

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, or None while it runs."""
        return self.completion.answer.outcome if self.completion else None

    def completed(self, completion: Completion) -> Prediction:
        """Return the record with its completion. A record is completed once."""
        if self.completion is not None:
            raise ValueError(f"{self.id} is already complete")
        return replace(self, completion=completion)
