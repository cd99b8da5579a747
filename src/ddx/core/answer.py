"""What a model said to an outcome. Total: whatever the text is, there is an outcome.

Models are asked for one JSON object and answer with much else: fences, prose, markers, JSON in
a string, numbers for words. What can be read without guessing is read; the rest is a Failed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from ddx.core.differential import likelihood_of, likelihood_word, quoted
from ddx.core.record import (
    Answered,
    Code,
    Declined,
    Diagnosis,
    Evidence,
    Failed,
    Likelihood,
)
from ddx.errors import EngineError

Codes = Callable[[str], tuple[Code, ...]]

NAME_CHARS = 200
TEXT_CHARS = 8_000
LIST_ITEMS = 30
WORD_CHARS = 40
MOST_READ = 200
"""Items of one list that are looked at."""
TRIES = 64
"""Places in a text where an object may begin that are looked at."""
QUOTE_CHARS = 2_000
"""A longer 'quote' is taken for one that does not stand in the case: searching for it is slow."""

_NAMES = ("diagnosis", "name", "condition", "disease")
_MARKER = re.compile(r"\[\[ ## (\w+) ## \]\]")
_OBJECT = re.compile(r'\{(?=\s*["}])')
# An unclosed string is taken to the end, so that the pass stays linear in the text's length.
_STRING_OR_COMMA = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|,(?=\s*[}\]])', re.DOTALL)
_UNUSABLE = re.compile("[\ud800-\udfff\x00]")
_FURTHER_WORDS = {
    "most likely": Likelihood.HIGH,
    "very likely": Likelihood.HIGH,
    "likely": Likelihood.MODERATE_HIGH,
    "probable": Likelihood.MODERATE_HIGH,
    "possible": Likelihood.MODERATE,
    "unlikely": Likelihood.LOW,
    "very unlikely": Likelihood.LOW,
}
_URGENCY = {
    "emergency": "emergency",
    "emergent": "emergency",
    "immediate": "emergency",
    "critical": "emergency",
    "urgent": "urgent",
    "semi urgent": "urgent",
    "routine": "routine",
    "non urgent": "routine",
    "elective": "routine",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read."""

    outcome: Answered | Declined | Failed
    unsupported_quotes: int = 0
    """Quotes that were claimed and do not stand in the case: left out, and counted."""
    repairable: bool = False
    """The model said something, and asking it to say that again in the right form may help."""


def read_answer(text: str, case: str, codes: Codes, top: int) -> Reading:
    r"""Return the outcome in a model's answer to `case`, at most `top` diagnoses long.

    `codes` gives the codes of a disease's name; what it raises counts as none.
    No message holds any of the model's text or of the case.

    >>> said = '```json\n{"diagnoses": [{"diagnosis": "Dengue", "supporting": ["fever"]}]}\n```'
    >>> read_answer(said, "Has fever.", lambda name: (), 5).outcome.diagnoses[0].supporting[0].start
    4
    >>> read_answer("I cannot help.", "Has fever.", lambda name: (), 5).repairable
    True
    """
    if not text.strip():
        return _failed("The model gave an empty answer.", repairable=False)
    fields = _fields_of(text)
    if fields is None:
        return _failed("The model's answer is not the JSON object that was asked for.")
    reader = _Reader(case=case, codes=codes)
    questions = _texts(fields.get("further_questions"))
    missing = _texts(fields.get("missing_information"))
    conclusion = _text(fields.get("conclusion"))
    if _is_false(fields.get("sufficient")):
        return Reading(
            outcome=Declined(
                reason=conclusion or "The model finds too little detail in the case.",
                further_questions=questions,
                missing_information=missing,
            )
        )
    said = _diagnoses(fields.get("diagnoses"))[:MOST_READ]
    diagnoses = _merged([reader.diagnosis(item) for item in said])
    if not diagnoses:
        return _failed("The model's answer names no diagnosis.")
    return Reading(
        outcome=Answered(
            diagnoses=tuple(diagnoses[: max(1, top)]),
            conclusion=conclusion,
            further_questions=questions,
            missing_information=missing,
        ),
        unsupported_quotes=reader.unsupported,
    )


def _failed(message: str, *, repairable: bool = True) -> Reading:
    failed = Failed(code=EngineError.code, message=message, advice=EngineError.advice)
    return Reading(outcome=failed, repairable=repairable)


# --- text to fields ---------------------------------------------------------------------
# A model may write a megabyte of anything: every pass here is linear in the text's length.


def _fields_of(text: str) -> dict[str, Any] | None:
    """Return the answer's fields, or None where there are none to be read."""
    bare = _unfenced(text.lstrip("\ufeff"))
    whole = _loads(bare)
    if isinstance(whole, list):
        return {"diagnoses": whole} if any(_name_of(item) for item in whole[:MOST_READ]) else None
    if (fields := _answer_in(whole)) is not None:
        return fields
    if (fields := _marked(text)) is not None:
        return fields
    return next((f for found in _objects(bare) if (f := _answer_in(found)) is not None), None)


def _unfenced(text: str) -> str:
    bare = text.strip()
    if bare.startswith("```"):
        bare = bare.partition("\n")[2]
    return bare.removesuffix("```")


def _answer_in(value: Any) -> dict[str, Any] | None:
    """Return the object that has the answer's fields: this one, or one just inside it."""
    if not isinstance(value, dict):
        return None
    for candidate in (value, *value.values()):
        found = _loads(candidate) if isinstance(candidate, str) else candidate
        if isinstance(found, dict) and ("diagnoses" in found or _is_false(found.get("sufficient"))):
            return found
    return None


def _objects(text: str) -> Iterator[Any]:
    """Yield JSON objects that stand in a text, outer ones first, after a bounded search.

    Inner objects of one that is cut off are yielded too: without the answer's fields they are
    not taken for the answer.
    """
    decoder = json.JSONDecoder(strict=False)
    end = 0
    for match in islice(_OBJECT.finditer(text), TRIES):
        if match.start() < end:
            continue
        try:
            value, end = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        yield value
    opening, closing = text.find("{"), text.rfind("}")
    if 0 <= opening < closing:
        yield _loads(text[opening : closing + 1])


def _marked(text: str) -> dict[str, Any] | None:
    """Read fields written under `[[ ## name ## ]]` markers, as DSPy's chat form has them."""
    parts = _MARKER.split(text)
    fields: dict[str, Any] = {}
    for name, section in zip(parts[1::2], parts[2::2], strict=True):
        content = _unfenced(section).strip()
        value = _loads(content)
        fields[name] = content if value is None else value
    if isinstance(fields.get("diagnoses"), str):
        return None  # A list that cannot be read is not a diagnosis of that name.
    return _answer_in(fields.get("diagnoses")) or _answer_in(fields)


def _loads(text: str) -> dict[str, Any] | list[Any] | None:
    """Return the object or list of a JSON text, also from strings that hold JSON."""
    value: Any = text
    for _ in range(3):
        if not isinstance(value, str):
            break
        value = _parse(value)
    return value if isinstance(value, dict | list) else None


def _parse(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[", '"')):
        return None
    for candidate in (text, None):
        try:
            return json.loads(candidate or _without_last_commas(text), strict=False)
        except (ValueError, RecursionError):
            continue
    return None


def _without_last_commas(text: str) -> str:
    return _STRING_OR_COMMA.sub(lambda found: "" if found[0] == "," else found[0], text)


# --- fields to values -------------------------------------------------------------------


def _is_false(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in {"false", "no", "0"}
    return isinstance(value, bool | int) and not value


def _text(value: Any, limit: int = TEXT_CHARS) -> str:
    """Return a value as text that can be encoded; lists and objects by their values."""
    return _UNUSABLE.sub("\ufffd", _flat(value, 4))[:limit].strip()


def _flat(value: Any, depth: int) -> str:
    match value:
        case str():
            return value
        case bool() | None:
            return ""
        case int() | float():
            return f"{value:.15g}" if abs(value) < 10**15 else ""  # neither NaN nor infinity
        case dict() if depth:
            return "; ".join(filter(None, (_flat(item, depth - 1) for item in value.values())))
        case list() if depth:
            return "; ".join(filter(None, (_flat(item, depth - 1) for item in value)))
        case _:
            return ""


def _list(value: Any) -> list[Any]:
    """Return a list of what was asked for as a list; a model may write one item, or JSON."""
    if isinstance(value, str):
        loaded = _loads(value)
        return loaded if isinstance(loaded, list) else [value]
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _texts(value: Any) -> tuple[str, ...]:
    texts = dict.fromkeys(_text(item) for item in _list(value)[:MOST_READ])
    return tuple(text for text in texts if text)[:LIST_ITEMS]


def _diagnoses(value: Any) -> list[Any]:
    """Return the diagnoses as a list of objects or names."""
    loaded = _loads(value) if isinstance(value, str) else None
    value = value if loaded is None else loaded
    if not isinstance(value, dict):
        return _list(value)
    if _name_of(value):
        return [value]
    return [_named(key, item) for key, item in value.items()]


def _named(key: str, item: Any) -> Any:
    """Read one of {"Dengue": {...}}, {"Dengue": "High"}, {"1": {...}} or {"1": "Dengue"}."""
    if key.isdigit() or (isinstance(item, dict) and _name_of(item)):
        return item
    if isinstance(item, dict):
        return {**item, "diagnosis": key}
    return {"diagnosis": key, "likelihood": item} if isinstance(item, str | int | float) else None


def _name_of(item: Any) -> str:
    if not isinstance(item, dict | str):
        return ""
    said = [item.get(key) for key in _NAMES] if isinstance(item, dict) else [item]
    names = (
        " ".join(_text(name, NAME_CHARS).split())
        for name in said
        if not isinstance(name, dict | list)
    )
    return next(filter(None, names), "")


def _likelihood(value: Any) -> Likelihood:
    """Read a likelihood as a word or a number; Moderate where nothing can be read."""
    if isinstance(value, str):
        word = value.strip()[:WORD_CHARS].lower()
        known = likelihood_word(word) or _FURTHER_WORDS.get(word)
        number = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?(%?)", word)
        if known is not None or number is None:
            return known or Likelihood.MODERATE
        value = float(number[1]) / (100 if number[2] else 1)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Likelihood.MODERATE
    if 0 <= value <= 1:
        return likelihood_of(float(value))
    return likelihood_of(value / 100) if 1 < value <= 100 else Likelihood.MODERATE


def _urgency(value: Any) -> str | None:
    word = value.strip()[:WORD_CHARS].lower() if isinstance(value, str) else ""
    return _URGENCY.get(" ".join(re.split(r"[\s_-]+", word)))


class _Reader:
    """Reads diagnoses of one case, counting the quotes that do not stand in it."""

    def __init__(self, *, case: str, codes: Codes) -> None:
        self._case = case
        self._codes = codes
        self.unsupported = 0

    def diagnosis(self, item: Any) -> Diagnosis | None:
        """Return one entry, or None where it has no name."""
        name = _name_of(item)
        if not name:
            return None
        said = item if isinstance(item, dict) else {}
        return Diagnosis(
            name=name,
            likelihood=_likelihood(said.get("likelihood")),
            codes=self._codes_of(name),
            supporting=self._evidence(said.get("supporting")),
            contradicting=self._evidence(said.get("contradicting")),
            clinical_relevance=_text(said.get("clinical_relevance")),
            lack_of_fit=_text(said.get("lack_of_fit")),
            urgency=_urgency(said.get("urgency")),
            next_steps=_texts(said.get("next_steps")),
        )

    def _codes_of(self, name: str) -> tuple[Code, ...]:
        try:
            return self._codes(name)
        except Exception:
            return ()  # An answer without codes is worth more than none.

    def _evidence(self, value: Any) -> tuple[Evidence, ...]:
        found: dict[int | None, Evidence] = {}
        for item in [value] if isinstance(value, dict) else _list(value)[:MOST_READ]:
            said = item if isinstance(item, dict) else {"quote": item}
            quote = _text(said.get("quote", item))
            finding = _text(said.get("finding")) or quote
            if not quote:
                continue
            fits = len(quote) <= QUOTE_CHARS
            evidence = quoted(self._case, finding, quote) if fits else None
            if evidence is None:
                self.unsupported += 1
            else:
                found.setdefault(evidence.start, evidence)
        return tuple(found.values())[:LIST_ITEMS]


def _merged(diagnoses: list[Diagnosis | None]) -> list[Diagnosis]:
    """Return the list without duplicates: a later one gives its evidence to the first."""
    kept: dict[str, Diagnosis] = {}
    for diagnosis in filter(None, diagnoses):
        name = re.sub(r"[\W_]+", " ", diagnosis.name.casefold()).strip() or diagnosis.name
        key = next((code.code for code in diagnosis.codes if code.system == "MONDO"), name)
        first = kept.get(key)
        if first is None:
            kept[key] = diagnosis
            continue
        kept[key] = replace(
            first,
            supporting=tuple(dict.fromkeys(first.supporting + diagnosis.supporting)),
            contradicting=tuple(dict.fromkeys(first.contradicting + diagnosis.contradicting)),
            clinical_relevance=first.clinical_relevance or diagnosis.clinical_relevance,
            lack_of_fit=first.lack_of_fit or diagnosis.lack_of_fit,
            urgency=first.urgency or diagnosis.urgency,
            next_steps=tuple(dict.fromkeys(first.next_steps + diagnosis.next_steps)),
        )
    return list(kept.values())
