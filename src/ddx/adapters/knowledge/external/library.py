"""What added files change in the making of an index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ddx.adapters.knowledge.external.ddxplus import Ddxplus
from ddx.adapters.knowledge.external.mined import Mined
from ddx.adapters.knowledge.external.mondo import Mondo
from ddx.adapters.knowledge.external.texts import Texts
from ddx.adapters.knowledge.merge import source_of
from ddx.adapters.knowledge.model import Disease, Ontology, Profile


@dataclass(frozen=True)
class Library:
    """The added files, read. Without any, an index is made of the carried knowledge alone."""

    mondo: Mondo = field(default_factory=Mondo)
    texts: Texts = field(default_factory=Texts)
    ddxplus: Ddxplus = field(default_factory=Ddxplus)

    @classmethod
    def read(cls, files: Mapping[str, Path]) -> Library:
        """Read those that are there."""
        return cls(Mondo.read(files), Texts.read(files), Ddxplus.read(files))

    def extend(self, ontology: Ontology) -> Ontology:
        """Return the ontology with the findings that added questions ask for."""
        terms = self.ddxplus.terms
        return replace(
            ontology,
            terms={**ontology.terms, **terms},
            findings=ontology.findings | terms.keys(),
        )

    def widened(self, profiles: Sequence[Profile]) -> tuple[Profile, ...]:
        """Return the profiles with Mondo's names and codes where their disease is sure."""
        same = self.same(profiles)
        return tuple(
            self._named(profile, same[profile.id]) if profile.id in same else profile
            for profile in profiles
        )

    def described(self, profiles: Sequence[Profile], ontology: Ontology) -> tuple[Profile, ...]:
        """Return the profiles with the findings that texts name, and those of more diseases.

        Takes a minute with 24,000 texts.
        """
        if not self.texts.described:
            return tuple(profiles)
        mined = Mined.read(self.texts.described, ontology)
        same = self.same(profiles)
        ids = [
            dict.fromkeys((*_own_ids(one), *self._mondo_ids(one), same.get(one.id, one.id)))
            for one in profiles
        ]
        known = frozenset(id for each in ids for id in each)
        return (
            *(mined.added_to(one, each) for one, each in zip(profiles, ids, strict=True)),
            *mined.further(known, self.mondo.names, self.mondo.codes),
        )

    def same(self, profiles: Iterable[Profile]) -> Mapping[str, str]:
        """Lead from a profile's id to what it shares with the others of its disease."""
        return self.mondo.same(profiles)

    def texts_of(self, disease: Disease) -> tuple[str, ...]:
        """Return what is written about a disease, under any id that it is known by."""
        return tuple(text for id in self._ids(disease) for text in self.texts.of_id.get(id, ()))

    def other_texts(self, diseases: Iterable[Disease]) -> tuple[str, ...]:
        """Return the texts that are about none of these diseases."""
        taken = {id for disease in diseases for id in self._ids(disease)}
        return tuple(" ".join(texts) for id, texts in self.texts.of_id.items() if id not in taken)

    def _ids(self, disease: Disease) -> dict[str, None]:
        return dict.fromkeys(
            id
            for profile in disease.profiles
            for id in (*_own_ids(profile), *self._mondo_ids(profile))
        )

    def _named(self, profile: Profile, mondo: str) -> Profile:
        """Add Mondo's names, and the codes that equal its own."""
        has = {source_of(profile.id), *(source_of(id) for id, _ in profile.codes)}
        codes = [
            (id, label)
            for id, label in self.mondo.codes(mondo)
            if source_of(id) in ("MONDO", "ICD-10-CM") and source_of(id) not in has
        ]
        aliases = dict.fromkeys((*profile.aliases, *self.mondo.names(mondo)))
        return replace(profile, aliases=tuple(aliases), codes=(*profile.codes, *codes))

    def _mondo_ids(self, profile: Profile) -> tuple[str, ...]:
        return tuple(
            mondo
            for id in _own_ids(profile)
            for mondo in ((id,) if source_of(id) == "MONDO" else self.mondo.of_code.get(id, ()))
        )


def _own_ids(profile: Profile) -> tuple[str, ...]:
    return (profile.id, *(id for id, _ in profile.codes))
