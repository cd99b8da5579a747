"""Findings that texts about a disease name, as annotations where nobody has annotated them.

A text names what it finds worth naming, and says seldom how often it is seen: each finding is
taken to be in the same share of patients. Of SHARE 0.15, 0.3 and 0.5, 0.3 put the truth first most
often in 177 development cases of rare disease in prose (17, 19 and 18 in 100; 15 without).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ddx.adapters.knowledge.external.texts import Described
from ddx.adapters.knowledge.mentions import mentions
from ddx.adapters.knowledge.model import Annotation, Ontology, Profile
from ddx.adapters.knowledge.phrases import Phrases, phrase_arrays

SHARE = 0.3
"""Share of patients taken to have a finding that a text names."""
LONGEST = 6_000
"""Characters of a text that are read: what stands at its end is on treatment and genes."""
NAMES = {
    "doid": "Disease Ontology",
    "ncit": "NCI Thesaurus",
    "ordo": "Orphanet",
    "medquad": "MedQuAD",
}
_NOT_A_DISEASE = re.compile(
    r"\b(stage|recurrent|refractory|metastatic|susceptibility)\b", re.IGNORECASE
)
"""In names of what is a state of another disease, or a risk of it."""


@dataclass(frozen=True)
class Mined:
    """What the texts name; empty where there are none."""

    of_id: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Id of a disease -> HPO id of a finding -> the key of the source that names it first."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Id of a disease -> its name."""

    @classmethod
    def read(cls, described: Iterable[Described], ontology: Ontology) -> Mined:
        """Search the texts for the ontology's findings: some milliseconds each."""
        ids = sorted(ontology.terms)
        terms = [ontology.terms[id] for id in ids if ontology.terms[id].in_prose]
        arrays, vocabulary = phrase_arrays(terms)
        phrases = Phrases.of(arrays, vocabulary)
        every = list(described)
        found = {
            one.id: {
                terms[match.term].id: source
                # Backwards, so that the first of the sources is the one that stays.
                for source, text in reversed(list(one.texts.items()))
                for match, there in mentions(phrases, text[:LONGEST])
                if there
            }
            for one in every
        }
        return cls(found, {one.id: one.name for one in every if one.name})

    def added_to(self, profile: Profile, ids: Iterable[str]) -> Profile:
        """Return a profile with what the texts about these ids name beyond it."""
        known = {one.term for one in profile.annotations}
        named = {term: src for id in ids for term, src in self.of_id.get(id, {}).items()}
        more = [self._annotation(*item) for item in sorted(named.items()) if item[0] not in known]
        return replace(profile, annotations=(*profile.annotations, *more)) if more else profile

    def further(
        self,
        known: frozenset[str],
        aliases: Callable[[str], Sequence[str]],
        codes: Callable[[str], Sequence[tuple[str, str]]],
    ) -> Iterator[Profile]:
        """Yield a profile of each disease that only texts describe; `known` are the others' ids."""
        for id, named in self.of_id.items():
            name = self.names.get(id, "")
            if not id.startswith("MONDO:") or id in known or not named or not name:
                continue
            if _NOT_A_DISEASE.search(name):
                continue
            yield Profile(
                id=id,
                name=name[:1].upper() + name[1:],
                aliases=tuple(aliases(id)),
                codes=tuple(code for code in codes(id) if code[0] != id),
                annotations=tuple(self._annotation(*item) for item in sorted(named.items())),
            )

    @staticmethod
    def _annotation(term: str, source: str) -> Annotation:
        return Annotation(term=term, frequency=SHARE, reference=f"a text of {NAMES[source]}")
