"""DDXPlus's codes as sentences that a clinician could have written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddx.core.statements import statement

_NOTHING = {"n", "na", "nowhere", "0"}


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


def _patient(age: Any, sex: str | None) -> str:
    words = {"MALE": "male", "FEMALE": "female"}
    noun = words.get(sex or "", "patient")
    if isinstance(age, int | str) and str(age).isdecimal():
        return f"{age}-year-old {noun}."
    return f"{noun.capitalize()}." if sex in words else ""
