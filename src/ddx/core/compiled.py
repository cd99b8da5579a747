"""A compiled DSPy program as its file says it: examples and instructions, data and nothing else.

The file is the JSON that DSPy writes for a program's state (`module.save("x.json")`, or
`predict.save("x.json")`), with our own account of where it comes from in its `metadata`. DSPy's
other form is a pickle, which runs code when it is read: it is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ddx.errors import BadProgram

PREDICTOR = "differential"
"""Name of the one predictor of our program."""
ACCOUNT = "ddx"
"""Where our own account is in the file's `metadata`."""
_KNOWN_SERIES = ("2.5", "2.6", "3.")
"""Versions of DSPy whose state has the form read here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What a program file gives to a prompt."""

    demos: tuple[Mapping[str, Any], ...] = ()
    """Examples: fields of the signature by name."""
    instructions: str | None = None
    """In place of the text of the prompt configuration that they were made from."""
    made_from: str | None = None
    """Digest of that configuration's text. Any other text is used as it stands."""
    dspy: str | None = None
    """The version that saved the file, where it says so."""
    account: Mapping[str, Any] = field(default_factory=dict)
    """Model, optimiser, cases, scores: see `provenance` in docs/optimize.md."""
    digest: str = ""
    """SHA-256 of the file, 64 hex digits."""

    def text(self, prompt_text: str, prompt_digest: str) -> str:
        """Return the instructions to send where this prompt configuration is asked for."""
        if self.instructions is None or self.made_from != prompt_digest:
            return prompt_text
        return self.instructions


def read(raw: bytes, fields: Collection[str]) -> Compiled:
    """Return what a program file says; `fields` are those of the signature it must be for.

    Raises BadProgram with the reason.

    >>> read(b'{"demos": [], "signature": {"instructions": "Be brief."}}', {"case"}).demos
    ()
    """
    state = _object(raw)
    metadata = state.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    versions = metadata.get("dependency_versions")
    saved_by = versions.get("dspy") if isinstance(versions, dict) else None
    if saved_by is not None and not str(saved_by).startswith(_KNOWN_SERIES):
        raise BadProgram(
            f"it was saved by DSPy {str(saved_by)[:20]}; read are those of 2.5, 2.6 and 3"
        )
    predictor = _predictor(state)
    account = metadata.get(ACCOUNT)
    account = account if isinstance(account, dict) else {}
    made_from = account.get("prompt_digest")
    signature = predictor.get("signature")
    instructions = signature.get("instructions") if isinstance(signature, dict) else None
    return Compiled(
        demos=_demos(predictor, frozenset(fields)),
        # Whose instructions they replace is known from our own account alone.
        instructions=str(instructions) if instructions and made_from else None,
        made_from=str(made_from) if made_from else None,
        dspy=str(saved_by) if saved_by is not None else None,
        account=account,
        digest=hashlib.sha256(raw).hexdigest(),
    )


def _object(raw: bytes) -> dict[str, Any]:
    if raw[:1] == b"\x80":
        raise BadProgram("it is a pickle, which would run code: save the program as JSON")
    try:
        state = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadProgram("it is not JSON") from None
    if not isinstance(state, dict):
        raise BadProgram("it is not the state of a DSPy program")
    return state


def _predictor(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state of the one predictor: the file's own, or one that it holds by name."""
    if isinstance(state.get("demos"), list):
        return state
    found = {
        name: part
        for name, part in state.items()
        if isinstance(part, dict) and isinstance(part.get("demos"), list)
    }
    if not found:
        raise BadProgram("it holds no predictor: saved by a DSPy before 2.5, or not by DSPy")
    if len(found) > 1:
        names = ", ".join(sorted(found))[:100]
        raise BadProgram(f"it holds {len(found)} predictors ({names}); ours is one")
    return next(iter(found.values()))


def _demos(predictor: Mapping[str, Any], fields: frozenset[str]) -> tuple[Mapping[str, Any], ...]:
    demos = []
    for number, demo in enumerate(predictor["demos"], start=1):
        if not isinstance(demo, dict):
            raise BadProgram(f"example {number} is not an object")
        names = set(demo) - {"augmented", "rationale"}
        if unknown := sorted(names - fields):
            raise BadProgram(
                f"example {number} has the field {unknown[0][:40]!r}:"
                " the program was compiled for another signature"
            )
        if not {"case", "diagnoses"} <= names:
            raise BadProgram(f"example {number} lacks `case` or `diagnoses`")
        demos.append(demo)
    return tuple(demos)
