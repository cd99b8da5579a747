"""The form of a pack's files, checked: every fault is a sentence that names its place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddx.adapters.knowledge.model import Synonym, Term
from ddx.errors import BadPack

CLASSES = ("obligate", "very_frequent", "frequent", "occasional", "very_rare", "excluded")
"""How often patients have a finding: always, in 80 to 99, 30 to 79, 5 to 29, 1 to 4 of 100,
and never."""
RATES = ("very_rare", "rare", "uncommon", "common", "very_common")
"""How common a condition is among those who come."""
SETTINGS = ("primary_care", "emergency")
URGENCIES = ("emergency", "urgent", "routine")
FINDINGS = (8, 25)
"""Fewest and most findings of a condition, excluded ones aside."""
_TERM_ID = re.compile(r"DDX:[A-Z]{2,6}-\d{3}")
_NAMED = re.compile(r"((?:HP:\d{7})|(?:DDX:[A-Z]{2,6}-\d{3})) (\S.*)")
_ICD10 = re.compile(r"[A-Z]\d\d(\.\d{1,2})?")
_MONDO = re.compile(r"MONDO:\d{7}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What `manifest.toml` says of a pack."""

    name: str
    version: str
    label: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition as its file has it."""

    file: str
    """Name of the file."""
    name: str
    synonyms: tuple[str, ...]
    icd10: str
    mondo: str | None
    urgency: str
    red_flags: tuple[str, ...]
    sex: str | None
    """FEMALE or MALE where only they can have it."""
    age_years: tuple[float, float]
    """When it typically begins."""
    base_rate: Mapping[str, str]
    confused_with: tuple[str, ...]
    next_steps: tuple[str, ...]
    findings: Mapping[str, tuple[str, ...]]
    """Class -> ids of terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackFile:
    """One file, as far as it can be read."""

    name: str
    terms: tuple[Term, ...]
    words: Mapping[str, tuple[str, ...]]
    conditions: tuple[Condition, ...]
    named: tuple[tuple[str, str, str], ...]
    """Where a term is named, its id, and the name that stands beside it."""
    faults: tuple[str, ...]


def read_manifest(path: Path) -> Manifest:
    """Read a pack's manifest. Raises BadPack."""
    table = _toml(path)
    lacking = [key for key in Manifest.__dataclass_fields__ if not isinstance(table.get(key), str)]
    if lacking:
        raise BadPack(f"{path.name} lacks {', '.join(lacking)}.")
    return Manifest(**{key: table[key] for key in Manifest.__dataclass_fields__})


def read_file(path: Path) -> PackFile:
    """Read one file; what is wrong with it stands in its `faults`.

    Raises BadPack where it is not TOML.
    """
    return _Reader(path.name, _toml(path)).file()


class _Reader:
    """Reads one file and gathers what is wrong with it."""

    def __init__(self, name: str, table: Mapping[str, Any]) -> None:
        self._name, self._table = name, table
        self._faults: list[str] = []
        self._named: list[tuple[str, str, str]] = []

    def file(self) -> PackFile:
        if unknown := set(self._table) - {"term", "words", "condition"}:
            self._fault("", f"unknown {_list(unknown)}")
        terms = tuple(self._terms())
        words = {
            id: self._texts("words", key, said)
            for key, said in self._table.get("words", {}).items()
            if (id := self._term("words", key))
        }
        conditions = tuple(self._conditions())
        return PackFile(
            name=self._name,
            terms=terms,
            words=words,
            conditions=conditions,
            named=tuple(self._named),
            faults=tuple(self._faults),
        )

    def _terms(self) -> Iterator[Term]:
        for entry in self._table.get("term", []):
            id, name = str(entry.get("id", "")), str(entry.get("name", ""))
            where = f"term {id or name}"
            if unknown := set(entry) - {"id", "name", "parent", "synonyms"}:
                self._fault(where, f"unknown {_list(unknown)}")
            if not _TERM_ID.fullmatch(id) or not name:
                self._fault(where, "a term has an id like DDX:RESP-001 and a name")
                continue
            parent = self._term(where, entry["parent"]) if "parent" in entry else None
            said = self._texts(where, "synonyms", entry.get("synonyms", []))
            yield Term(
                id=id,
                name=name,
                synonyms=tuple(Synonym(text, "EXACT", "pack") for text in said),
                parents=(parent,) if parent else (),
            )

    def _conditions(self) -> Iterator[Condition]:
        for entry in self._table.get("condition", []):
            where = str(entry.get("name", "a condition without a name"))
            before = len(self._faults)
            self._check(where, entry)
            if len(self._faults) == before:
                yield self._condition(where, entry)

    def _check(self, where: str, entry: Mapping[str, Any]) -> None:
        needed = {"name", "icd10", "urgency", "age_years", "base_rate", "findings"}
        optional = {"synonyms", "mondo", "red_flags", "sex", "confused_with", "next_steps"}
        if lacking := needed - set(entry):
            self._fault(where, f"it lacks {_list(lacking)}")
            return
        if unknown := set(entry) - needed - optional:
            self._fault(where, f"unknown {_list(unknown)}")
        if not _ICD10.fullmatch(str(entry["icd10"])):
            self._fault(where, "icd10 is a code like J45.9")
        if "mondo" in entry and not _MONDO.fullmatch(str(entry["mondo"])):
            self._fault(where, "mondo is an id like MONDO:0004979, or not there")
        if entry["urgency"] not in URGENCIES:
            self._fault(where, f"urgency is one of {_list(URGENCIES)}")
        if entry.get("sex", "female") not in ("female", "male"):
            self._fault(where, "sex is female, male, or not there")
        if not _is_range(entry["age_years"]):
            self._fault(where, "age_years is two ages from 0 to 120, the lower first")
        rates = entry["base_rate"]
        if set(rates) != set(SETTINGS) or not set(rates.values()) <= set(RATES):
            self._fault(where, f"base_rate gives {_list(SETTINGS)} one of {_list(RATES)} each")
        self._check_findings(where, entry["findings"])

    def _check_findings(self, where: str, findings: Mapping[str, list[str]]) -> None:
        if unknown := set(findings) - set(CLASSES):
            self._fault(where, f"unknown classes of findings {_list(unknown)}")
        count = sum(len(named) for kind, named in findings.items() if kind != "excluded")
        if not FINDINGS[0] <= count <= FINDINGS[1]:
            self._fault(where, f"it has {count} findings; 8 to 25 are asked for")
        every = [text for named in findings.values() for text in named]
        if len(set(every)) != len(every):
            self._fault(where, "a finding stands there twice")

    def _condition(self, where: str, entry: Mapping[str, Any]) -> Condition:
        low, high = entry["age_years"]
        return Condition(
            file=self._name,
            name=where,
            synonyms=self._texts(where, "synonyms", entry.get("synonyms", [])),
            icd10=entry["icd10"],
            mondo=entry.get("mondo"),
            urgency=entry["urgency"],
            red_flags=self._texts(where, "red_flags", entry.get("red_flags", [])),
            sex=entry["sex"].upper() if "sex" in entry else None,
            age_years=(float(low), float(high)),
            base_rate=dict(entry["base_rate"]),
            confused_with=self._texts(where, "confused_with", entry.get("confused_with", [])),
            next_steps=self._texts(where, "next_steps", entry.get("next_steps", [])),
            findings={
                kind: tuple(
                    id
                    for text in entry["findings"].get(kind, ())
                    if (id := self._term(where, text))
                )
                for kind in CLASSES
            },
        )

    def _term(self, where: str, text: str) -> str | None:
        """Read `HP:0001945 Fever`; the name is checked where all terms are known."""
        found = _NAMED.fullmatch(str(text))
        if not found:
            self._fault(where, f"{text!r} is no term like 'HP:0001945 Fever'")
            return None
        self._named.append((where, found[1], found[2]))
        return found[1]

    def _texts(self, where: str, key: str, value: object) -> tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(v, str) and v.strip() for v in value):
            return tuple(value)
        self._fault(where, f"{key} is a list of texts")
        return ()

    def _fault(self, where: str, what: str) -> None:
        self._faults.append(f"{self._name}: {where + ': ' if where else ''}{what}.")


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadPack(f"{path.name} cannot be read: {error}.") from error


def _is_range(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(age, int | float) for age in value)
        and 0 <= value[0] < value[1] <= 120
    )


def _list(values: object) -> str:
    return ", ".join(sorted(str(v) for v in values))  # type: ignore[attr-defined]
