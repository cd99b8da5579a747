"""DDXPlus's codes as sentences that a clinician could have written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_NOTHING = {"n", "na", "nowhere", "0"}
_STATEMENTS = (
    (r"Do you have any (family members|close family members) who (.+)", r"Has \1 who \2"),
    (r"Do you currently, or did you ever, have (.+)", r"Has or had \1"),
    (r"Did you previously, or do you currently, have (.+)", r"Has or had \1"),
    (r"Do you (?:(?:constantly|suddenly|currently) )?(?:have|feel|suffer from) (.+)", r"Has \1"),
    (r"Do you (.+)", r"They \1"),
    (r"Does the person have (.+)", r"Has \1"),
    (r"Have you (?:(?:recently|ever) )*(.+)", r"Has \1"),
    (r"Are you (.+)", r"Is \1"),
    (r"Did you (.+)", r"Did \1"),
    (r"Were you (.+)", r"Was \1"),
)
_SPEAKER = (
    (r"\byourself\b", "themselves"),
    (r"\byour\b", "their"),
    (r"\byou are\b", "they are"),
    (r"\byou\b", "they"),
)


@dataclass(frozen=True, slots=True)
class Evidences:
    """What DDXPlus's codes mean: its file release_evidences.json."""

    meanings: Mapping[str, Mapping[str, Any]]

    def text(self, codes: Sequence[str], *, age: Any = None, sex: str | None = None) -> str:
        """Return codes as sentences; a value that says 'none' is left out.

        >>> fever = {"question_en": "Do you have a fever?", "value_meaning": {}}
        >>> pain = {"question_en": "Do you feel pain somewhere?",
        ...     "value_meaning": {"V_1": {"en": "forehead"}, "V_2": {"en": "nowhere"}}}
        >>> meanings = Evidences({"E_1": fever, "E_2": pain})
        >>> meanings.text(["E_1", "E_2_@_V_1"], age=31, sex="FEMALE")
        '31-year-old female. Has a fever. Has pain somewhere: forehead.'
        >>> meanings.text(["E_2_@_V_2"])
        ''
        """
        values: dict[str, list[str]] = {}
        for code in codes:
            name, _, value = code.partition("_@_")
            values.setdefault(name, [])
            if value:
                values[name].append(self._value(name, value))
        sentences = [_patient(age, sex)]
        sentences += [self._sentence(name, found) for name, found in values.items()]
        return " ".join(sentence for sentence in sentences if sentence)

    def _value(self, name: str, value: str) -> str:
        meaning = self.meanings.get(name, {}).get("value_meaning", {}).get(value, {})
        return str(meaning.get("en", value))

    def _sentence(self, name: str, values: Sequence[str]) -> str:
        question = str(self.meanings.get(name, {}).get("question_en", name)).rstrip("?: ")
        said = [value for value in values if value.casefold() not in _NOTHING]
        if values and not said:
            return ""
        said = [value for value in said if value.casefold() != "y"]
        return statement(question) + (f": {', '.join(said)}" if said else "") + "."


def statement(question: str) -> str:
    """Turn a question to a patient into a statement about one.

    >>> statement("Have you had chills or shivers")
    'Has had chills or shivers'
    >>> statement("Is your skin much paler than usual")
    'Is their skin much paler than usual'
    """
    said = question
    for pattern, replacement in _STATEMENTS:
        said, count = re.subn(f"^{pattern}$", replacement, question)
        if count:
            break
    for pattern, replacement in _SPEAKER:
        said = re.sub(pattern, replacement, said)
    return said


def _patient(age: Any, sex: str | None) -> str:
    words = {"MALE": "male", "FEMALE": "female"}
    noun = words.get(sex or "", "patient")
    if isinstance(age, int | str) and str(age).isdecimal():
        return f"{age}-year-old {noun}."
    return f"{noun.capitalize()}." if sex in words else ""
