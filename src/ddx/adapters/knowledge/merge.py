"""Profiles of several sources to diseases.

A disease that OMIM and Orphanet both describe is one disease with both descriptions: what one
of them leaves out, the other often says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from ddx.adapters.knowledge.model import Disease, Profile
from ddx.adapters.knowledge.names import name_key

_ORDER = ("ORPHA", "OMIM", "DECIPHER")
"""Whose name is shown, first choice first: Orphanet's are written for clinicians."""


def merge(
    profiles: Iterable[Profile], same: Mapping[str, str] | None = None
) -> tuple[Disease, ...]:
    """Join the profiles that are of one disease, in an order that depends on them alone.

    `same` leads from a profile's id to a key that it shares with the others of its disease,
    where a pack says so; the rest is joined by name. Profiles of one source are never joined,
    so that a disease has one code of each.
    """
    groups: dict[str, list[Profile]] = defaultdict(list)
    for profile in profiles:
        key = (same or {}).get(profile.id) or "name:" + name_key(profile.name)
        groups[key].append(profile)
    diseases = []
    for key in sorted(groups):
        found = sorted(groups[key], key=_preference)
        sources = [source_of(profile.id) for profile in found]
        if len(set(sources)) == len(sources):
            diseases.append(Disease(name=found[0].name, profiles=tuple(found)))
        else:
            diseases += [Disease(name=one.name, profiles=(one,)) for one in found]
    return tuple(diseases)


def source_of(id: str) -> str:
    """Return the prefix of an id.

    >>> source_of("OMIM:154700")
    'OMIM'
    """
    return id.partition(":")[0]


def _preference(profile: Profile) -> tuple[int, str]:
    source = source_of(profile.id)
    return (_ORDER.index(source) if source in _ORDER else len(_ORDER), profile.id)
