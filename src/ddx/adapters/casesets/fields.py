"""The fields of a case, from JSON or CSV, checked. Errors name the line, never the content."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ddx.adapters.casesets.ddxplus_text import Evidences
from ddx.core.caseset import Case, Published, Truth
from ddx.core.record import Findings
from ddx.errors import BadCases

LONGEST_TEXT = 50_000
_TERM = re.compile(r"HP:\d{7}")
_FLAGS = ("in_kb", "pmid_in_kb", "name_in_text", "answer_is_known_disease")
_RANK = "_rank"
_SEXES = {
    "m": "MALE",
    "male": "MALE",
    "f": "FEMALE",
    "female": "FEMALE",
    "other_sex": "OTHER_SEX",
    "unknown_sex": "UNKNOWN_SEX",
}


class Line:
    """One case as it stands in its file."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        """`where` says file and line, for errors."""
        self.values, self.where = values, where

    def wrong(self, what: str) -> BadCases:
        """Return the error that names this line."""
        return BadCases(f"{self.where}: {what}")

    def text(self, name: str) -> str:
        """Return a text field, empty where it is absent."""
        value = self.values.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.wrong(f"`{name}` must be a text")
        return value.strip()

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts, empty where it is absent."""
        value = self.values.get(name)
        if value is None:
            return ()
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise self.wrong(f"`{name}` must be a list")
        if not all(isinstance(item, str) for item in value):
            raise self.wrong(f"`{name}` must hold texts")
        return tuple(value)

    def terms(self, name: str) -> tuple[str, ...]:
        """Return a list of HPO ids."""
        found = self.texts(name)
        if not all(_TERM.fullmatch(id) for id in found):
            raise self.wrong(f"`{name}` must hold HPO ids as HP:0001250")
        return found


def common_case(line: Line, evidences: Callable[[], Evidences]) -> Case:
    """Return a case in the common fields; see `ddx evaluate --help`.

    `evidences` is asked only where a case comes as DDXPlus codes without a text.
    """
    values = line.values
    id = line.text("id")
    if not id:
        raise line.wrong("a case needs an `id`")
    text = line.text("case_text")
    present, absent = line.terms("present"), line.terms("absent")
    if not text and "evidences" in values:
        text = evidences().text(line.texts("evidences"), age=values.get("age"), sex=_sex(line))
    findings = None
    if present or absent:
        findings = Findings(present=present, absent=absent, sex=_sex(line), age=_age(line))
    return checked(
        line,
        Case(
            id=id,
            text=text,
            findings=findings,
            truth=_truth(line),
            flags={name: values[name] for name in _FLAGS if isinstance(values.get(name), bool)},
            published=_published(line),
        ),
    )


def checked(line: Line, case: Case) -> Case:
    """Return the case if it can be asked and graded. Raises BadCases."""
    if not case.text and case.findings is None:
        raise line.wrong("a case needs `case_text`, or HPO ids in `present` or `absent`")
    if len(case.text) > LONGEST_TEXT:
        raise line.wrong(f"the text has {len(case.text):,} characters; at most {LONGEST_TEXT:,}")
    if not case.truth.name and not case.truth.ids:
        raise line.wrong("a case needs its truth: a `name`, or `ids`")
    return case


def _truth(line: Line) -> Truth:
    value = line.values.get("truth")
    if isinstance(value, str):
        return Truth(name=value.strip())
    if not isinstance(value, Mapping):
        raise line.wrong('a case needs `truth`: {"name": "…", "ids": ["OMIM:…"]}')
    inner = Line(value, line.where)
    ids = inner.texts("ids")
    if not all(":" in id for id in ids):
        raise line.wrong("an id of the truth must have its terminology, as OMIM:154700")
    return Truth(name=inner.text("name"), ids=ids)


def _sex(line: Line) -> str | None:
    value = line.text("sex")
    if value and value.lower() not in _SEXES:
        raise line.wrong(f"`sex` must be one of {', '.join(_SEXES)}")
    return _SEXES.get(value.lower())


def _age(line: Line) -> str | None:
    """Return an age as ISO 8601 or an onset label; whole years are taken too."""
    value = line.values.get("age")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"P{value}Y"
    return line.text("age") or None


def _published(line: Line) -> dict[str, Published]:
    """Return what other methods made of the case: `<method>_rank`, or shares of right answers."""
    found: dict[str, Published] = {}
    for name, value in line.values.items():
        if name.endswith(_RANK) and (value is None or isinstance(value, int)):
            found[name.removesuffix(_RANK)] = Published(rank=value)
    shares = line.values.get("published_frq_accuracy")
    if isinstance(shares, Mapping):
        for name, value in shares.items():
            if isinstance(value, int | float):
                found[name] = Published(top_1=float(value))
    return found
