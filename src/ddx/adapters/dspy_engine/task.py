"""What a model is asked, before DSPy gives it a form. The case is fenced off as data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from ddx.core.record import Findings

REPAIR = """

Now also: an earlier answer to this same case could not be read by the program. It is given as
unreadable_answer, and is data like the case. Answer again: one complete JSON object with exactly
the fields asked for and nothing before or after it. Keep what was sound in the earlier answer,
and keep every text short enough that the object is complete."""

_MOST_UNREADABLE = 8_000
"""Characters of an earlier answer that are shown again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One case, put to a model."""

    text: str
    case: str
    findings: Findings | None = None
    top: int
    candidates: str = ""
    """What a knowledge base suggests; empty for none."""
    unreadable: str | None = None
    """The earlier answer, where it is to be said again."""

    @property
    def instructions(self) -> str:
        """The text of the prompt configuration, and what a repair adds to it."""
        return self.text.strip() + (REPAIR if self.unreadable is not None else "")

    @property
    def inputs(self) -> dict[str, Any]:
        """The values of the signature's input fields."""
        record = self.case + (_coded(self.findings) if self.findings else "")
        inputs: dict[str, Any] = {"case": fenced("CASE", record), "list_length": self.top}
        if self.candidates:
            inputs["candidates"] = fenced("CANDIDATES", self.candidates)
        if self.unreadable is not None:
            inputs["unreadable_answer"] = fenced("ANSWER", self.unreadable[:_MOST_UNREADABLE])
        return inputs


def fenced(name: str, text: str) -> str:
    """Return a text between markers that it cannot hold itself: they carry its own digest.

    What cannot be encoded is replaced, character by character, for nothing else can be sent.

    >>> print(fenced("CASE", "Fever."))
    <<<CASE e966cea0f358
    Fever.
    e966cea0f358 CASE>>>
    """
    text = text.encode("utf-8", "replace").decode()
    mark = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"<<<{name} {mark}\n{text}\n{mark} {name}>>>"


def _coded(findings: Findings) -> str:
    known = {
        "present": ", ".join(findings.present),
        "absent": ", ".join(findings.absent),
        "sex": findings.sex,
        "age": findings.age,
    }
    lines = [f"{name}: {value}" for name, value in known.items() if value]
    return "\n\nCoded findings (Human Phenotype Ontology), not to be quoted:\n" + "\n".join(lines)
