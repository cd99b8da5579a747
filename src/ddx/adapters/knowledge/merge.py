"""Profiles of several sources to diseases.

A disease that OMIM and Orphanet both describe is one disease with both descriptions: what one
of them leaves out, the other often says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from ddx.adapters.knowledge.model import Disease, Profile
from ddx.adapters.knowledge.names import name_key

_ORDER = ("DDX", "ORPHA", "OMIM", "DECIPHER")
"""Whose name is shown, first choice first: a pack's and Orphanet's are written for clinicians."""


def merge(
    profiles: Iterable[Profile], same: Mapping[str, str] | None = None
) -> tuple[Disease, ...]:
    """Join the profiles that are of one disease, in an order that depends on them alone.

    `same` leads from a profile's id to a key that it shares with the others of its disease (its
    Mondo id), where a pack says so; the rest is joined by name. Profiles of one source are never
    joined, so that a disease has one code of each.
    """
    every = tuple(profiles)
    named = _names_of_conditions(every)
    groups: dict[str, list[Profile]] = defaultdict(list)
    for profile in every:
        groups[_key(profile, same or {}, named)].append(profile)
    diseases = []
    for key in sorted(groups):
        together, alone = _one_of_each(sorted(groups[key], key=_preference))
        diseases += [Disease(name=one[0].name, profiles=one) for one in (together,) if one]
        diseases += [Disease(name=one.name, profiles=(one,)) for one in alone]
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


def _key(profile: Profile, same: Mapping[str, str], named: Mapping[str, str]) -> str:
    if profile.care is not None:
        return _condition_key(profile)
    key = name_key(profile.name)
    return same.get(profile.id) or named.get(key) or "name:" + key


def _condition_key(profile: Profile) -> str:
    mondo = (id for id, _ in profile.codes if source_of(id) == "MONDO")
    return next(mondo, "name:" + name_key(profile.name))


def _names_of_conditions(profiles: Iterable[Profile]) -> dict[str, str]:
    """Each name of a pack's conditions -> the key of its disease; own names go first."""
    conditions = [profile for profile in profiles if profile.care is not None]
    named = {name_key(one.name): _condition_key(one) for one in conditions}
    for one in conditions:
        for alias in one.aliases:
            named.setdefault(name_key(alias), _condition_key(one))
    return named


def _one_of_each(found: list[Profile]) -> tuple[tuple[Profile, ...], list[Profile]]:
    """Return the profiles that are one disease, and those that are not surely it.

    Of several of one source, the one that bears the condition's own name is meant.
    """
    first = found[0]
    by_source: dict[str, list[Profile]] = defaultdict(list)
    for profile in found:
        by_source[source_of(profile.id)].append(profile)
    if first.care is None and any(len(several) > 1 for several in by_source.values()):
        return (), found
    together: list[Profile] = []
    alone: list[Profile] = []
    for several in by_source.values():
        own = [one for one in several if name_key(one.name) == name_key(first.name)]
        chosen = several if len(several) == 1 else own if len(own) == 1 else []
        together += chosen
        alone += [one for one in several if one not in chosen]
    return tuple(together), alone
