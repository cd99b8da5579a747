"""Cases with a known truth."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from ddx.core.record import Findings

KEPT_OUT = {
    "name_in_text": (True, "the text names the disease"),
    "answer_is_known_disease": (False, "the answer is no disease with a code"),
}
"""Flag -> the value that keeps a case out unless asked for, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the patient had."""

    name: str
    ids: tuple[str, ...] = ()
    """Ids of the one disease, as `OMIM:148600` and `MONDO:0007858`; empty where none is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What another method made of the case, as its authors published it."""

    rank: int | None = None
    """Place of the truth in its list; None: not listed."""
    top_1: float | None = None
    """Share of its attempts that were right, where only that is published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One patient. Has a text, or findings, or both."""

    id: str
    text: str = ""
    """Patient data, though the public sets are published."""
    findings: Findings | None = None
    truth: Truth
    flags: Mapping[str, bool] = field(default_factory=dict)
    """`in_kb`, `pmid_in_kb`, `name_in_text`, `answer_is_known_disease`, where known."""
    published: Mapping[str, Published] = field(default_factory=dict)
    """By the method's name."""

    @property
    def disease(self) -> str:
        """What groups cases of one disease: its first id, else its name."""
        return self.truth.ids[0] if self.truth.ids else self.truth.name.casefold()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSet:
    """Cases in their order."""

    name: str
    """Of the file or folder; it also names the published figures to stand beside."""
    cases: tuple[Case, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Why a case was left out -> how many."""

    @property
    def digest(self) -> str:
        """SHA-256 of what is asked and what is true, 64 hex digits."""
        sums = hashlib.sha256()
        for case in self.cases:
            asked = {
                "id": case.id,
                "text": case.text,
                "findings": asdict(case.findings) if case.findings else None,
                "truth": asdict(case.truth),
            }
            sums.update(json.dumps(asked, sort_keys=True, ensure_ascii=False).encode() + b"\n")
        return sums.hexdigest()

    def usable(self) -> CaseSet:
        """Leave out what `KEPT_OUT` names, and count it.

        >>> given = CaseSet(name="x", cases=(
        ...     Case(id="1", truth=Truth(name="a"), flags={"name_in_text": True}),
        ...     Case(id="2", truth=Truth(name="b"))))
        >>> [case.id for case in given.usable().cases], given.usable().dropped
        (['2'], {'the text names the disease': 1})
        """
        kept, dropped = [], Counter[str]()
        for case in self.cases:
            why = _kept_out(case)
            if why is None:
                kept.append(case)
            else:
                dropped[why] += 1
        return replace(self, cases=tuple(kept), dropped=dict(dropped))

    def first(self, limit: int | None) -> CaseSet:
        """Return the first `limit` cases."""
        return self if limit is None else replace(self, cases=self.cases[:limit])


def by_disease(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Return the cases of each disease."""
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.disease, []).append(case)
    return found


def _kept_out(case: Case) -> str | None:
    for flag, (value, why) in KEPT_OUT.items():
        if case.flags.get(flag) is value:
            return why
    return None
