"""Ids of diseases as the codes that an answer carries."""

from __future__ import annotations

from collections.abc import Iterable

from ddx.adapters.knowledge.merge import source_of
from ddx.core.record import Code

SYSTEMS = ("MONDO", "OMIM", "ORPHA", "ICD-10", "ICD-10-CM")
"""Terminologies that an answer gives codes of."""


def codes_of(ids: Iterable[Iterable[str]]) -> tuple[Code, ...]:
    """Return those of [id, name] that are of a public terminology.

    A code is written as its terminology writes it: with a prefix, but for the ICD's.

    >>> [code.code for code in codes_of([["DDX:Flu", "Flu"], ["ICD-10:J11", "Flu"],
    ...  ["OMIM:614680", "Flu"]])]
    ['J11', 'OMIM:614680']
    """
    return tuple(
        Code(
            system=source_of(id),
            code=id.partition(":")[2] if id.startswith("ICD") else id,
            display=name,
        )
        for id, name in ids
        if source_of(id) in SYSTEMS
    )
