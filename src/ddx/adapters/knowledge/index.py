"""The index: everything the engine knows, as sparse arrays and lists of names. Immutable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ddx.adapters.knowledge.phrases import Phrases


@dataclass(frozen=True, slots=True)
class Column:
    """The diseases that have a finding."""

    diseases: Any
    probabilities: Any
    """P(finding | disease), beside `diseases`."""


@dataclass(frozen=True)
class Index:
    """Arrays and strings, as `build` makes them and the cache keeps them."""

    arrays: Mapping[str, Any]
    strings: Mapping[str, Any]
    digest: str
    """SHA-256 over all arrays and strings, 64 hex digits."""
    version: str
    """Release of the ontology."""

    @property
    def n_terms(self) -> int:
        """How many findings there are."""
        return len(self.strings["terms"])

    @property
    def n_diseases(self) -> int:
        """How many diseases there are."""
        return len(self.strings["diseases"])

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """HPO id -> row, old ids included."""
        rows = {id: row for row, id in enumerate(self.strings["terms"])}
        return rows | {old: rows[new] for old, new in self.strings["moved"].items()}

    @cached_property
    def phrases(self) -> Phrases:
        """The names of the terms."""
        return Phrases.of(self.arrays, self.strings["vocabulary"])

    def term_id(self, term: int) -> str:
        """Return the HPO id of a row."""
        return str(self.strings["terms"][term])

    def term_name(self, term: int) -> str:
        """Return the name of a row."""
        return str(self.strings["term_names"][term])

    def disease_name(self, disease: int) -> str:
        """Return the name shown."""
        return str(self.strings["diseases"][disease]["name"])

    def disease_codes(self, disease: int) -> Sequence[tuple[str, str]]:
        """Return id and name in each source that describes the disease."""
        return [(id, name) for id, name in self.strings["diseases"][disease]["codes"]]

    def care(self, disease: int) -> Mapping[str, Any]:
        """Return what a pack of conditions says: label, urgency, red_flags … ; else empty."""
        return dict(self.strings["diseases"][disease].get("care", {}))

    @cached_property
    def _bounds(self) -> Mapping[str, list[int]]:
        """The pointers as plain numbers: asked one by one, they are ten times as fast."""
        names = ("anc_ptr", "desc_ptr", "col_ptr", "ann_ptr")
        return {name: self.arrays[name].tolist() for name in names}

    def _stretch(self, name: str, at: int) -> slice:
        bounds = self._bounds[name]
        return slice(bounds[at], bounds[at + 1])

    def ancestors(self, term: int) -> tuple[Any, Any]:
        """Return the rows above a term, itself included, and the steps up to each."""
        stretch = self._stretch("anc_ptr", term)
        return self.arrays["anc_term"][stretch], self.arrays["anc_steps"][stretch]

    def descendants(self, term: int) -> Any:
        """Return the rows below a term, itself included."""
        return self.arrays["desc_term"][self._stretch("desc_ptr", term)]

    def column(self, term: int) -> Column:
        """Return the diseases with a finding."""
        stretch = self.column_stretch(term)
        return Column(self.arrays["col_disease"][stretch], self.arrays["col_p"][stretch])

    def column_stretch(self, term: int) -> slice:
        """Return the stretch of the `col_…` arrays of a finding."""
        return self._stretch("col_ptr", term)

    def probability(self, term: int, disease: int) -> float:
        """P(finding | disease): 0.0 where no source says it."""
        column = self.column(term)
        at = int(np.searchsorted(column.diseases, disease))
        found = at < len(column.diseases) and column.diseases[at] == disease
        return float(column.probabilities[at]) if found else 0.0

    def annotations(self, disease: int) -> slice:
        """Return the stretch of the `ann_…` arrays that describes a disease."""
        return self._stretch("ann_ptr", disease)

    def above_annotations(self, disease: int) -> tuple[Any, Any]:
        """Return, end to end, all above each annotation of a disease, and where each begins."""
        terms = self.arrays["ann_term"][self.annotations(disease)]
        first = self.arrays["anc_ptr"][terms]
        lengths = self.arrays["anc_ptr"][terms + 1] - first
        starts = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(starts[-1]) + np.repeat(first - starts[:-1], lengths)
        return self.arrays["anc_term"][places], starts

    def profile(self, disease: int) -> Any:
        """P(finding | disease) of every finding, by row; the same as `probability`. Read-only."""
        return self._profiles(disease)

    @cached_property
    def _profiles(self) -> Callable[[int], Any]:
        # The first diseases of an answer are asked for several times; 100 are 8 MB.
        return lru_cache(maxsize=100)(self._profile)

    def _profile(self, disease: int) -> Any:
        above, starts = self.above_annotations(disease)
        said = np.repeat(self.arrays["ann_p"][self.annotations(disease)], np.diff(starts))
        shares = np.zeros(self.n_terms, np.float32)
        # The highest is written last.
        order = np.argsort(said, kind="stable")
        shares[above[order]] = said[order]
        shares.flags.writeable = False
        return shares
