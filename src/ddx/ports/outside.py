"""What a command finds outside of the program, and the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time, which the core is told."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back, for durations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a look found. A check never changes anything."""

    name: str
    ok: bool
    found: str
    advice: str = ""
    detail: Mapping[str, str | int | float] = field(default_factory=dict)
    warns: bool = False
    """Nothing is broken, but there is less than there could be: the advice is worth reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a tracking server did not do as it was asked."""

    kind: str
    """unreachable, untrusted, unauthenticated, forbidden, missing (it has no such thing), invalid,
    absent (it knows no such request), limited, or failed."""
    status: int | None = None
    code: str = ""
    """MLflow's, where it says one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What a tracking server that is not ours can do. None: it could not be asked."""

    service: str
    """Databricks, Amazon SageMaker, Azure ML or MLflow."""
    experiment: str
    """Name of the experiment that runs go to."""
    refused: Refusal | None = None
    """Why nothing more could be asked."""
    version: str | None = None
    experiment_id: str | None = None
    """None where it is not there yet."""
    experiment_refused: Refusal | None = None
    """Why it could not be made."""
    artifact_location: str | None = None
    finds_tags: Refusal | bool | None = None
    """True, or why it does not find runs by a tag."""
    finds_patterns: bool | None = None
    """Whether many tags are found by one search."""
    traces: bool | None = None
    assessments: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a trial on a tracking server."""

    did: str
    refused: Refusal | None = None
    """None where it went well."""
