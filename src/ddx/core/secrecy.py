"""What a model was told stays out of what a client is told.

A case can ask the model to repeat its instructions, and a model may obey. Its own words are then
in the record, for the auditor; in the answer, a text that repeats the instructions is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ddx.core.record import Answered, Declined, Diagnosis

RUN = 8
"""So many words in a row of the instructions are no accident."""
LEFT_OUT = "Left out: it repeated the instructions."
_WORD = re.compile(r"[^\W_]+(?:[-_][^\W_]+)*")


@dataclass(frozen=True)
class Secret:
    """The instructions of one question, ready to be looked for.

    >>> secret = Secret.of("Read the case as an experienced physician would. Key: owl-7731.", "")
    >>> secret.told("I was asked to read the case as an experienced physician would.")
    True
    >>> secret.told("An experienced physician would read it."), secret.told("The key is OWL-7731")
    (False, True)
    """

    runs: frozenset[tuple[str, ...]]
    marks: frozenset[str]
    """Words of letters and digits, as keys and names are, that the case does not have itself."""

    @classmethod
    def of(cls, instructions: str, case: str) -> Secret:
        """Prepare instructions; what the case says itself is no secret."""
        own = set(_runs(case))
        said = set(_words(case))
        marks = (word for word in _words(instructions) if len(word) >= 5 and _is_mark(word))
        return cls(
            frozenset(run for run in _runs(instructions) if run not in own),
            frozenset(word for word in marks if word not in said),
        )

    def told(self, text: str) -> bool:
        """Whether a text gives a part of them away."""
        return not self.marks.isdisjoint(_words(text)) or any(
            run in self.runs for run in _runs(text)
        )

    def kept(self, outcome: Answered | Declined) -> Answered | Declined:
        """Return an outcome without the texts that repeat the instructions."""
        if isinstance(outcome, Declined):
            return replace(
                outcome,
                reason=self._text(outcome.reason),
                further_questions=self._texts(outcome.further_questions),
                missing_information=self._texts(outcome.missing_information),
            )
        return replace(
            outcome,
            diagnoses=tuple(self._diagnosis(one) for one in outcome.diagnoses),
            conclusion=self._text(outcome.conclusion),
            further_questions=self._texts(outcome.further_questions),
            missing_information=self._texts(outcome.missing_information),
        )

    def _diagnosis(self, one: Diagnosis) -> Diagnosis:
        return replace(
            one,
            name=self._text(one.name),
            clinical_relevance=self._text(one.clinical_relevance),
            lack_of_fit=self._text(one.lack_of_fit),
            next_steps=self._texts(one.next_steps),
        )

    def _text(self, text: str) -> str:
        return LEFT_OUT if self.told(text) else text

    def _texts(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text for text in texts if not self.told(text))


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _runs(text: str) -> Iterator[tuple[str, ...]]:
    words = _words(text)
    for start in range(len(words) - RUN + 1):
        yield tuple(words[start : start + RUN])


def _is_mark(word: str) -> bool:
    return any(c.isdigit() for c in word) and any(c.isalpha() for c in word)
