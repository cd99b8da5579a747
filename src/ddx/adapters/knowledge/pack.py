"""A pack of conditions: the project's own knowledge, one TOML file for each body system.

Where the ontology has no term for a finding (an exposure, a trigger, a test's result), a pack
defines one; its ids begin with `DDX:`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ddx.adapters.knowledge.model import Annotation, Care, Ontology, Profile, Synonym, Term
from ddx.adapters.knowledge.names import name_key
from ddx.adapters.knowledge.schema import Condition, PackFile, read_file, read_manifest
from ddx.errors import BadPack

COMMON = Path(__file__).parent / "packs" / "common"
"""The pack that comes with the program."""

SHARE: Mapping[str, float] = {
    "obligate": 1.0,
    "very_frequent": 0.895,
    "frequent": 0.545,
    "occasional": 0.17,
    "very_rare": 0.025,
    "excluded": 0.0,
}
"""Middle of the range that each class stands for, the same as for the HPO's own classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """All of a pack, checked."""

    name: str
    version: str
    label: str
    """What has to be said wherever its knowledge is shown."""
    licence: str
    digests: Mapping[str, str]
    """File name -> SHA-256, 64 hex digits."""
    terms: tuple[Term, ...] = ()
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """HPO id -> more ways to say it."""
    conditions: tuple[Condition, ...] = ()

    def profiles(self) -> tuple[Profile, ...]:
        """Return each condition as a disease's profile, in the order of their names."""
        return tuple(_profile(self, one) for one in sorted(self.conditions, key=_by_name))

    def extend(self, ontology: Ontology) -> Ontology:
        """Return the ontology with the pack's terms, and with its words as synonyms."""
        terms = dict(ontology.terms)
        terms |= {term.id: term for term in self.terms}
        for id, said in self.words.items():
            more = tuple(Synonym(text, "EXACT", "pack") for text in said)
            terms[id] = replace(terms[id], synonyms=terms[id].synonyms + more)
        used = {one.term for profile in self.profiles() for one in profile.annotations}
        return replace(ontology, terms=terms, findings=ontology.findings | used)


def pack_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a pack, by its name: quick, nothing is read into tables."""
    return {path.name: _sha256(path) for path in sorted(folder.glob("*.toml"))}


def load_pack(folder: Path, ontology: Ontology) -> Pack:
    """Read a pack and check it against the ontology's terms.

    Raises BadPack, with one sentence for each fault, the first twenty.
    """
    manifest = read_manifest(folder / "manifest.toml")
    paths = [path for path in sorted(folder.glob("*.toml")) if path.name != "manifest.toml"]
    files = [read_file(path) for path in paths]
    faults = [fault for file in files for fault in file.faults]
    terms = _terms(files, faults)
    known = {id: term.name for id, term in ontology.terms.items()}
    known |= {term.id: term.name for term in terms}
    conditions = tuple(one for file in files for one in file.conditions)
    for file in files:
        faults += _unknown_terms(file, known)
    faults += _names_twice(conditions)
    names = {one.name for one in conditions}
    faults += [
        f"{one.file}: {one.name}: confused_with has {other!r}, which is no condition of the pack"
        for one in conditions
        for other in one.confused_with
        if other not in names
    ]
    if faults:
        raise BadPack(f"the pack {manifest.name} is not usable. " + " ".join(faults[:20]))
    return Pack(
        name=manifest.name,
        version=manifest.version,
        label=manifest.label,
        licence=manifest.licence,
        digests=pack_digests(folder),
        terms=terms,
        words=_words(files),
        conditions=conditions,
    )


def _terms(files: Iterable[PackFile], faults: list[str]) -> tuple[Term, ...]:
    found: dict[str, Term] = {}
    for file in files:
        for term in file.terms:
            if term.id in found:
                faults.append(f"{file.name}: the term {term.id} is defined twice.")
            found[term.id] = term
    return tuple(found[id] for id in sorted(found))


def _unknown_terms(file: PackFile, known: Mapping[str, str]) -> list[str]:
    return [
        f"{file.name}: {where}: there is no term {id} {name!r}"
        + (f"; {id} is {known[id]!r}." if id in known else ".")
        for where, id, name in file.named
        if known.get(id) != name
    ]


def _names_twice(conditions: Iterable[Condition]) -> list[str]:
    owners: dict[str, str] = {}
    faults = []
    for one in conditions:
        for name in (one.name, *one.synonyms):
            owner = owners.setdefault(name_key(name), one.name)
            if owner != one.name:
                faults.append(f"{one.file}: {name!r} names both {owner} and {one.name}.")
    return faults


def _words(files: Iterable[PackFile]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for file in files:
        for id, said in file.words.items():
            found[id] = found.get(id, ()) + said
    return {id: found[id] for id in sorted(found)}


def _profile(pack: Pack, one: Condition) -> Profile:
    reference = f"{pack.name} {pack.version}: {one.file}, {one.name}"
    mondo = ((one.mondo, one.name),) if one.mondo else ()
    return Profile(
        id=f"DDX:{one.name}",
        name=one.name,
        aliases=one.synonyms,
        codes=(*mondo, (f"ICD-10:{one.icd10}", one.name)),
        annotations=tuple(
            Annotation(
                term=term,
                frequency=SHARE[kind],
                excluded=kind == "excluded",
                reference=reference,
            )
            for kind, terms in one.findings.items()
            for term in terms
        ),
        care=Care(
            label=pack.label,
            base_rate=dict(one.base_rate),
            age_years=one.age_years,
            sex=one.sex,
            urgency=one.urgency,
            red_flags=one.red_flags,
            next_steps=one.next_steps,
            confused_with=one.confused_with,
        ),
    )


def _by_name(one: Condition) -> str:
    return one.name


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
