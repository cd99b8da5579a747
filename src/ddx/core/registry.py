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
    api_key_file: str | None = None
    """A file that holds the key and nothing else."""
    api_key_keyring: str | None = None
    """`service/username` of the key in the system's keyring."""
    temperature: float | None = None
    max_tokens: int | None = None
    top_k: int | None = None
    prompt: int | None = None
    """Index of the prompt configuration used where a request names none."""
    timeout_s: float = 120.0
    """Deadline of one prediction, its retries included."""
    call_timeout_s: float | None = None
    """Longest wait for one call, so that one that hangs can be made again; None: the deadline."""
    attempts: int = 5
    """Most calls for one prediction: retries after errors and repairs of unreadable answers."""
    repairs: int = 2
    """Most calls, of those, that ask again because an answer could not be read."""
    max_concurrency: int | None = None
    """Calls under way at once at this model's provider or address; None: no limit but threads."""
    fallback: str | None = None
    """Another model of the registry, asked where this one fails."""
    program: str | None = None
    """File of a compiled DSPy program."""
    cpu_ms: float = 0.0
    """Of the engine `instant` alone: processor time that it burns for an answer."""
    wait_ms: float = 0.0
    """Of the engine `instant` alone: how long it waits, as for an LLM, before it answers."""
    knowledge: bool = False
    """Whether the LLM is shown the knowledge engine's candidates, and its list fused with them."""

    @property
    def needs_key(self) -> bool:
        """Whether a place is named where its key should be."""
        return bool(self.api_key_env or self.api_key_file or self.api_key_keyring)

    @property
    def key_places(self) -> str:
        """Where its key is looked for, in words."""
        places = [f"in {self.api_key_env}"] if self.api_key_env else []
        if self.api_key_file:
            places.append(f"in the file {self.api_key_file}")
        if self.api_key_keyring:
            places.append(f"in the keyring under {self.api_key_keyring}")
        return " or ".join(places)

    @property
    def endpoint(self) -> str:
        """What its calls share with those of other models: an address, or a provider."""
        return self.api_base or (self.llm or self.name).partition("/")[0]


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
