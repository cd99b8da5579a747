"""The models and prompt configurations that a request can name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum


class EngineKind(StrEnum):
    """What answers for a model."""

    KNOWLEDGE = "knowledge"
    DSPY = "dspy"
    INSTANT = "instant"
    """A fixed differential at once, for benchmarks only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One entry of the model registry, as ddx.toml says it."""

    name: str
    engine: EngineKind
    llm: str | None = None
    """provider/model, as LiteLLM and DSPy name it."""
    api_base: str | None = None
    api_key_env: str | None = None
    """The environment variable that holds the key; None where none is needed."""
    temperature: float | None = None
    max_tokens: int | None = None
    top_k: int | None = None
    prompt: int | None = None
    """Index of the prompt configuration used where a request names none."""
    timeout_s: float = 120.0
    """Deadline of one prediction, its retries included."""
    attempts: int = 3
    """Most calls for one prediction: retries after errors and repairs of unreadable answers."""
    program: str | None = None
    """File of a compiled DSPy program."""
    knowledge: bool = False
    """Whether the LLM is shown the knowledge engine's candidates, and its list fused with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptConfig:
    """One prompt configuration."""

    index: int
    name: str
    text: str
    """The instructions that the model is given, above the case."""

    @property
    def digest(self) -> str:
        """SHA-256 of the text, 64 hex digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()
