"""What came of asking one case, as a line of the results file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ddx.core.grading import Grade, How, Listed
from ddx.core.record import Answered, Declined, Diagnosis, Outcome

FORMAT = "ddx-evaluation/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked: two results files with equal plans answer the same question."""

    set_name: str
    set_digest: str
    cases: int
    model: str
    llm: str | None = None
    prompt: int | None = None
    setting: str | None = None
    """None: `genetics` for findings, else `primary_care`."""
    temperature: float | None = None
    """None: the model's own, as for the next two. The knowledge engine reads none of the three."""
    top_k: int | None = None
    max_tokens: int | None = None
    top: int = 10
    """Length of the list asked for."""
    repeat: int = 1
    through: str = "in process"
    """Or the address of a server."""
    version: str = ""
    """Of this program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an engine made of one case."""

    outcome: Outcome
    duration_s: float
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    """None where unknown."""
    program: str | None = None
    """Digest of the engine's program or index."""
    dropped: tuple[str, ...] = ()
    """Parameters that were asked for and did not reach the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One case, asked once."""

    case_id: str
    attempt: int
    """From 1 to `Plan.repeat`."""
    outcome: str
    """`answered`, `insufficient_information` or `failed`."""
    error_code: str | None = None
    listed: tuple[Listed, ...] = ()
    grade: Grade = field(default_factory=Grade)
    duration_s: float
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    program: str | None = None
    dropped: tuple[str, ...] = ()
    """See `Asked`."""


def row(case_id: str, attempt: int, asked: Asked) -> Row:
    """Return the line of one answer, not graded. Of its texts only the names are kept."""
    outcome = asked.outcome
    return Row(
        case_id=case_id,
        attempt=attempt,
        outcome=outcome.kind if isinstance(outcome, Answered | Declined) else "failed",
        error_code=getattr(outcome, "code", None),
        listed=listed(outcome),
        duration_s=round(asked.duration_s, 6),
        input_tokens=asked.input_tokens,
        output_tokens=asked.output_tokens,
        cost_usd=asked.cost_usd,
        program=asked.program,
        dropped=asked.dropped,
    )


def listed(outcome: Outcome) -> tuple[Listed, ...]:
    """Return the names and ids of an answer; empty where there is none."""
    if not isinstance(outcome, Answered):
        return ()
    return tuple(
        Listed(name=found.name, ids=_ids(found), probability=found.probability)
        for found in outcome.diagnoses
    )


def _ids(found: Diagnosis) -> tuple[str, ...]:
    return tuple(
        code.code if ":" in code.code else f"{code.system}:{code.code}" for code in found.codes
    )


# --- lines ------------------------------------------------------------------------------


def plan_line(plan: Plan) -> str:
    """Return the first line of a results file."""
    return _json({"format": FORMAT, **asdict(plan)})


def read_plan(line: str) -> Plan:
    """Read the first line. Raises ValueError where it is none of ours."""
    values = json.loads(line)
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise ValueError(f"no {FORMAT} file")
    return Plan(**values)


def row_line(row: Row) -> str:
    """Return one more line."""
    return _json(asdict(row))


def read_row(line: str) -> Row:
    """Read a line that `row_line` wrote. Raises ValueError, KeyError or TypeError.

    >>> one = Row(case_id="a", attempt=1, outcome="answered", duration_s=0.5,
    ...     listed=(Listed(name="Flu", ids=("MONDO:1",)),),
    ...     grade=Grade(rank=1, rank_grouping=1, how=How.CODE))
    >>> read_row(row_line(one)) == one
    True
    """
    values: dict[str, Any] = json.loads(line)
    found: Mapping[str, Any] = values.pop("grade")
    entries = values.pop("listed")
    dropped = tuple(values.pop("dropped", ()))
    return Row(
        listed=tuple(Listed(**{**entry, "ids": tuple(entry["ids"])}) for entry in entries),
        grade=Grade(**{**found, "how": How(found["how"]) if found["how"] else None}),
        dropped=dropped,
        **values,
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
