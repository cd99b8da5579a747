"""What is read from knowledge files, before it becomes arrays.

A pack of more knowledge is more `Profile`s, and pairs of ids that name one disease.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PHENOTYPE = "HP:0000118"
"""Root of the terms that are findings; the others say inheritance, course, frequency …"""


@dataclass(frozen=True, slots=True)
class Synonym:
    """Another name of a term."""

    text: str
    scope: str
    """EXACT, RELATED, NARROW or BROAD, as the OBO format says it."""
    kind: str
    """layperson, abbreviation, plural_form, uk_spelling …, or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A live term of the ontology."""

    id: str
    """`HP:0001250`."""
    name: str
    synonyms: tuple[Synonym, ...] = ()
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ontology:
    """The live terms, and where the ids of older ones lead."""

    version: str
    """Date of the release."""
    terms: Mapping[str, Term]
    moved: Mapping[str, str] = field(default_factory=dict)
    """Alternative and replaced ids -> the live id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One statement: patients with this disease have this finding."""

    term: str
    frequency: float | None = None
    """Share of patients in [0, 1]; None where the source gives none."""
    patients: int | None = None
    """How many patients were looked at, where the frequency is a count."""
    excluded: bool = False
    """The source says that the finding is not part of the disease."""
    sex: str | None = None
    """MALE or FEMALE where it holds for one sex only."""
    onset: str | None = None
    """HPO id of the time of life when the finding appears."""
    reference: str = ""
    """`PMID:20591885`, `OMIM:154700`, `ORPHA:558`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A disease as one source describes it."""

    id: str
    """`OMIM:154700`, `ORPHA:558`, `DECIPHER:1`."""
    name: str
    aliases: tuple[str, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    onsets: tuple[str, ...] = ()
    """HPO ids of the times of life when the disease begins."""
    inheritance: tuple[str, ...] = ()
    """HPO ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disease:
    """One disease, described by one or more sources."""

    name: str
    profiles: tuple[Profile, ...]
