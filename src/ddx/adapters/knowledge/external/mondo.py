"""Mondo: which ids name one disease, its names, and what lies above it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ddx.adapters.knowledge.external.tables import rows
from ddx.adapters.knowledge.merge import source_of
from ddx.adapters.knowledge.model import Profile
from ddx.adapters.knowledge.names import name_key
from ddx.errors import BadKnowledge

XREFS = "mondo_xref.tsv.gz"
SYNONYMS = "mondo_rare_synonyms.tsv.gz"
EDGES = "mondo_rare_edges.tsv.gz"

_ID = re.compile(r"MONDO:\d{7}")
_PREFIX = {"ICD10CM": "ICD-10-CM", "Orphanet": "ORPHA"}
"""Mondo's name of a terminology -> ours."""
_GIVEN = ("OMIM", "ORPHA", "ICD-10-CM")
"""Terminologies whose codes an answer carries beside Mondo's own."""


@dataclass(frozen=True)
class Mondo:
    """What the files of Mondo say; empty where there are none."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """Mondo id -> its name."""
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    xrefs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Mondo id -> equal codes, `OMIM:154700`, `ORPHA:558`, `ICD-10-CM:Q87.4` …"""

    @classmethod
    def read(cls, files: Mapping[str, Path]) -> Mondo:
        """Read those of the files that are there."""
        labels: dict[str, str] = {}
        synonyms: dict[str, tuple[str, ...]] = {}
        xrefs: dict[str, list[str]] = defaultdict(list)
        if XREFS in files:
            for id, label, code in read_xrefs(files[XREFS]):
                labels[id] = label
                xrefs[id].append(code)
        if SYNONYMS in files:
            for id, (label, more) in read_synonyms(files[SYNONYMS]).items():
                labels[id] = label
                synonyms[id] = more
        return cls(labels, synonyms, {id: tuple(codes) for id, codes in xrefs.items()})

    @cached_property
    def of_code(self) -> Mapping[str, tuple[str, ...]]:
        """Code of another terminology -> the Mondo ids that equal it; more than one is unsure."""
        found: dict[str, list[str]] = defaultdict(list)
        for id, codes in self.xrefs.items():
            for code in codes:
                found[code].append(id)
        return {code: tuple(dict.fromkeys(ids)) for code, ids in found.items()}

    def names(self, id: str) -> tuple[str, ...]:
        """Return the label and the synonyms of a Mondo id, which may be unknown here."""
        label = self.labels.get(id)
        return (() if label is None else (label,)) + self.synonyms.get(id, ())

    def same(self, profiles: Iterable[Profile]) -> dict[str, str]:
        """Lead from a profile's id to the Mondo id of its disease, where that is sure.

        Of several profiles of one source that Mondo takes for one disease, the one that bears
        its label is it, else the one that bears a synonym; where none does, none is.
        """
        claims: dict[tuple[str, str], list[Profile]] = defaultdict(list)
        for profile in profiles:
            if (id := self._equal_to(profile)) is not None:
                claims[id, source_of(profile.id)].append(profile)
        found = {}
        for (id, _), claimed in claims.items():
            one = claimed[0] if len(claimed) == 1 else self._named(id, claimed)
            if one is not None:
                found[one.id] = id
        return found

    @cached_property
    def of_name(self) -> Mapping[str, str]:
        """`name_key` -> the one Mondo id of this name; labels go before synonyms."""
        label = {id: name_key(name) for id, name in self.labels.items()}
        taken = set(label.values())
        synonyms = _sole(
            (key, id)
            for id, names in self.synonyms.items()
            for name in names
            if (key := name_key(name)) not in taken
        )
        return synonyms | _sole((key, id) for id, key in label.items())

    def codes(self, id: str) -> tuple[tuple[str, str], ...]:
        """Return the codes of one disease with its name, Mondo's first, one of each terminology.

        Where Mondo equals several codes of a terminology with it, none of them is surely it.
        """
        label = self.labels.get(id, "")
        found: dict[str, list[str]] = {system: [] for system in _GIVEN}
        for code in self.xrefs.get(id, ()):
            if (system := source_of(code)) in found:
                found[system].append(code)
        sure = [codes[0] for codes in found.values() if len(codes) == 1]
        return ((id, label), *((code, label) for code in sure))

    def _equal_to(self, profile: Profile) -> str | None:
        """Return the Mondo id of a profile: its own, the one that equals it, or of its name."""
        own = [id for id, _ in profile.codes if source_of(id) == "MONDO"]
        if own:
            return own[0]
        ids = self.of_code.get(profile.id, ())
        if ids:
            return ids[0] if len(ids) == 1 else None
        return self.of_name.get(name_key(profile.name))

    def _named(self, id: str, claimed: list[Profile]) -> Profile | None:
        label = name_key(self.labels.get(id, ""))
        keys = {name_key(name) for name in self.names(id)}
        for known in ({label}, keys):
            bearing = [one for one in claimed if name_key(one.name) in known]
            if len(bearing) == 1:
                return bearing[0]
        return None


def _sole(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return what leads to one thing only.

    >>> _sole([("a", "x"), ("a", "x"), ("b", "x"), ("b", "y")])
    {'a': 'x'}
    """
    found: dict[str, set[str]] = defaultdict(set)
    for key, value in pairs:
        found[key].add(value)
    return {key: next(iter(values)) for key, values in found.items() if key and len(values) == 1}


def read_xrefs(path: Path) -> list[tuple[str, str, str]]:
    """Return (Mondo id, label, equal code). Raises BadKnowledge."""
    found = []
    for id, label, code in rows(path, 3, ("mondo_id", "label", "xref")):
        _check(path, id)
        prefix, colon, local = code.partition(":")
        if not colon or not local:
            raise BadKnowledge(f"{path.name}: {id} has a code without a terminology.")
        found.append((id, label, f"{_PREFIX.get(prefix, prefix)}:{local}"))
    return found


def read_synonyms(path: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return Mondo id -> (label, synonyms). Raises BadKnowledge."""
    found = {}
    for id, label, synonyms in rows(path, 3, ("ID", "LABEL", "SYNONYMS")):
        _check(path, id)
        found[id] = (label, tuple(name for name in synonyms.split("|") if name))
    return found


def read_edges(path: Path) -> dict[str, tuple[str, ...]]:
    """Return Mondo id -> what lies one step above it. Raises BadKnowledge."""
    found: dict[str, list[str]] = defaultdict(list)
    for id, above in rows(path, 2):
        _check(path, id)
        _check(path, above)
        found[id].append(above)
    return {id: tuple(parents) for id, parents in found.items()}


def _check(path: Path, id: str) -> None:
    if not _ID.fullmatch(id):
        raise BadKnowledge(f"{path.name}: {id[:40]!r} is no Mondo id.")
