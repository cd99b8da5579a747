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
    in_prose: bool = True
    """Whether texts are searched for its names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ontology:
    """The live terms, and where the ids of older ones lead."""

    version: str
    """Date of the release."""
    terms: Mapping[str, Term]
    moved: Mapping[str, str] = field(default_factory=dict)
    """Alternative and replaced ids -> the live id."""
    findings: frozenset[str] = frozenset()
    """Terms that are findings although they do not lie below PHENOTYPE: a pack's own, and what
    it uses of exposures and past history."""


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
class Care:
    """What a pack of conditions says besides the findings."""

    label: str
    """What has to be said with it."""
    base_rate: Mapping[str, str] = field(default_factory=dict)
    """Setting -> very_common, common, uncommon, rare, very_rare."""
    age_years: tuple[float, float] | None = None
    """When it typically begins."""
    sex: str | None = None
    """MALE or FEMALE where only they can have it."""
    urgency: str | None = None
    """emergency, urgent or routine."""
    red_flags: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    confused_with: tuple[str, ...] = ()
    """Names of other conditions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A disease as one source describes it."""

    id: str
    """`OMIM:154700`, `ORPHA:558`, `DECIPHER:1`; `DDX:Malaria` for a condition of a pack."""
    name: str
    aliases: tuple[str, ...] = ()
    codes: tuple[tuple[str, str], ...] = ()
    """More codes of the same disease, each with its text: `MONDO:0005136`, `ICD-10:B54`."""
    annotations: tuple[Annotation, ...] = ()
    onsets: tuple[str, ...] = ()
    """HPO ids of the times of life when the disease begins."""
    inheritance: tuple[str, ...] = ()
    """HPO ids."""
    care: Care | None = None
    """None where the source is about findings only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disease:
    """One disease, described by one or more sources."""

    name: str
    profiles: tuple[Profile, ...]

    @property
    def care(self) -> Care | None:
        """What a pack of conditions says of it."""
        return next((one.care for one in self.profiles if one.care is not None), None)
