"""The body of a request, and how it becomes a value of ours."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from ddx.core.phenopacket import findings_of, packet_of
from ddx.core.record import Findings, Request, Setting

CASE_LIMIT = 50_000
TRACKER_LIMIT = 200
_TERM = r"^HP:\d{7}$"
_SEXES = ("UNKNOWN_SEX", "FEMALE", "MALE", "OTHER_SEX")
_DURATION = re.compile(
    r"^P(?=\d|T\d)(\d+(\.\d+)?Y)?(\d+(\.\d+)?M)?(\d+(\.\d+)?W)?(\d+(\.\d+)?D)?"
    r"(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?$"
)
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_ONSET = re.compile(r"^[A-Za-z][A-Za-z ]* onset$")


def _no_bool(value: Any) -> Any:
    """JSON's true is no number, though Python's is."""
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004  (pydantic wants ValueError)
    return value


def _only_digits(value: Any) -> Any:
    """Python reads 1_0 as ten; nobody else does."""
    if isinstance(value, str) and not _WHOLE.fullmatch(value.strip()):
        raise ValueError("must be a whole number, or a text holding one")
    return value


def blank_is_none(value: Any) -> Any:
    """A text of nothing but spaces says nothing."""
    return None if isinstance(value, str) and not value.strip() else value


Whole = Annotated[int, BeforeValidator(_no_bool)]
Number = Annotated[float, BeforeValidator(_no_bool)]
Term = Annotated[str, Field(pattern=_TERM)]


class FindingsBody(BaseModel):
    """A case as codes of the Human Phenotype Ontology."""

    model_config = ConfigDict(extra="forbid")

    present: list[Term] = Field(default=[], max_length=500, examples=[["HP:0001250"]])
    absent: list[Term] = Field(default=[], max_length=500)
    sex: str | None = Field(default=None, examples=list(_SEXES))
    age: str | None = Field(default=None, max_length=50, examples=["P3Y2M", "Infantile onset"])

    @field_validator("sex")
    @classmethod
    def _known_sex(cls, sex: str | None) -> str | None:
        if sex is not None and sex not in _SEXES:
            raise ValueError(f"must be one of {', '.join(_SEXES)}")
        return sex

    @field_validator("age")
    @classmethod
    def _known_age(cls, age: str | None) -> str | None:
        if age is not None and not (_DURATION.match(age) or _ONSET.match(age)):
            raise ValueError("must be an ISO 8601 duration or an HPO onset label")
        return age


def _findings_body(packet: dict[str, Any]) -> FindingsBody:
    """Read a phenopacket. Raises ValueError, which quotes nothing."""
    found = findings_of(packet)
    if not found.present and not found.absent:
        raise ValueError("the phenopacket has no phenotypicFeatures of the HPO")
    age = (
        found.age if found.age and (_DURATION.match(found.age) or _ONSET.match(found.age)) else None
    )
    try:
        return FindingsBody(
            present=list(found.present),
            absent=list(found.absent),
            sex=found.sex if found.sex in _SEXES else None,
            age=age,
        )
    except ValidationError:
        # Not chained: it quotes the packet.
        raise ValueError("a term of the phenopacket is not HP: and seven digits") from None


def _compact(packet: dict[str, Any]) -> str:
    return json.dumps(packet, ensure_ascii=False, separators=(",", ":"))


class PredictBody(BaseModel):
    """What `POST /predict/v1` takes. `case` or `findings` must be there."""

    model_config = ConfigDict(
        extra="ignore",
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [
                {
                    "case": "A 24-year-old man has had fever for 3 days with pain behind the"
                    " eyes, joint pain and a rash.",
                    "model_name": "knowledge",
                    "tracker": "visit-4711",
                }
            ]
        },
    )

    case: str | None = Field(default=None, min_length=1, max_length=CASE_LIMIT)
    model_name: Annotated[str | None, BeforeValidator(blank_is_none)] = Field(
        default=None, max_length=2_000, description="A name that `ddx models` lists."
    )
    prompt_version: Annotated[
        Whole | None,
        BeforeValidator(_only_digits),
        BeforeValidator(blank_is_none),
        WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]}),
    ] = Field(
        default=None,
        ge=-(10**18),
        le=10**18,
        description="Index of a prompt configuration; a number or a string holding one.",
    )
    tracker: Annotated[str | None, BeforeValidator(blank_is_none)] = Field(
        default=None,
        max_length=TRACKER_LIMIT,
        description="Your correlation id, and the idempotency key: send it again to retry.",
    )
    findings: FindingsBody | None = None
    phenopacket: dict[str, Any] | None = Field(
        default=None,
        description="A GA4GH phenopacket, version 2. A case that is one is taken for it, too.",
    )
    setting: Setting | None = None
    temperature: Number | None = Field(default=None, ge=0, le=2)
    max_tokens: Whole | None = Field(default=None, ge=1, le=1_000_000)
    top_k: Whole | None = Field(default=None, ge=1, le=1_000_000)
    top_differential: Whole | None = Field(default=None, ge=1, le=50)

    @model_validator(mode="after")
    def _something_to_go_by(self) -> PredictBody:
        packet = packet_of(self.case) if self.case else None
        if packet is not None:
            if self.phenopacket is not None:
                raise ValueError("case and phenopacket are two phenopackets: send one")
            self.case, self.phenopacket = None, dict(packet)
        if self.phenopacket is not None:
            if self.findings is not None:
                raise ValueError("findings and phenopacket both have codes: send one")
            self.findings = _findings_body(self.phenopacket)
        if self.case is None and self.findings is None:
            raise ValueError("case is required (or findings, or phenopacket)")
        return self

    def request(self, default_model: str, tracker: str | None) -> Request:
        """Return the request, its defaults filled in."""
        found = self.findings
        coded = (
            Findings(
                present=tuple(found.present),
                absent=tuple(found.absent),
                sex=found.sex,
                age=found.age,
            )
            if found
            else None
        )
        usual = Setting.GENETICS if coded else Setting.PRIMARY_CARE
        return Request(
            case=self.case or "",
            findings=coded,
            phenopacket=_compact(self.phenopacket) if self.phenopacket is not None else None,
            model_name=self.model_name or default_model,
            prompt_version=self.prompt_version,
            tracker=tracker,
            setting=self.setting or usual,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            top_k=self.top_k,
            top_differential=self.top_differential or 5,
        )


class BatchBody(BaseModel):
    """What `POST /predict/v1/batch` takes: each case as `POST /predict/v1` takes it."""

    model_config = ConfigDict(
        extra="ignore",
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [
                {
                    "cases": [
                        {"case": "A 24-year-old man has had fever for 3 days.", "tracker": "a-1"},
                        {"case": "A 60-year-old woman has crushing chest pain."},
                    ]
                }
            ]
        },
    )

    cases: list[PredictBody] = Field(min_length=1)
