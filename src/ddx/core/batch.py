"""Many cases that were handed over at once, each a prediction of its own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import NewType

from ddx.core.record import PredictionId, Request

BatchId = NewType("BatchId", str)
"""32 hexadecimal digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseDone:
    """How one case of a batch ended. Holds no patient text: the record does."""

    index: int
    """The case's place in the batch, from 0."""
    status: int
    """HTTP status that the case alone would have had."""
    outcome: str
    """`answered`, `insufficient_information`, or the code of an error."""
    prediction_id: PredictionId | None = None
    """None where the case was refused, and so has no record."""
    detail: str = ""
    """What is to be said where there is no record."""
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch, and how far it is."""

    id: BatchId
    created_at: datetime
    """In UTC, with tzinfo."""
    caller: str
    """The API key's id: nobody else sees the batch."""
    total: int
    done: Mapping[int, CaseDone] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether each case has ended."""
        return len(self.done) == self.total

    @property
    def pending(self) -> list[int]:
        """Which cases have not ended, in order."""
        return [index for index in range(self.total) if index not in self.done]

    @property
    def outcomes(self) -> dict[str, int]:
        """How many cases ended how."""
        return dict(sorted(Counter(one.outcome for one in self.done.values()).items()))

    def with_done(self, done: CaseDone) -> Batch:
        """Return the batch with one more case ended."""
        return replace(self, done={**self.done, done.index: done})


def request_of(id: BatchId, index: int, case: Request) -> Request:
    """Return the request that asks a case: with a tracker always, so that however often it is
    asked, it is answered once.
    """
    return case if case.tracker is not None else replace(case, tracker=f"batch-{id}-{index}")


def done_line(done: CaseDone) -> str:
    """Return one line that `read_done` reads."""
    return json.dumps(asdict(done), ensure_ascii=False, separators=(",", ":"))


def read_done(lines: Iterable[str]) -> dict[int, CaseDone]:
    """Read lines; one that a power cut left half written is as good as none.

    >>> read_done(['{"index":0,"status":200,"outcome":"answered"}', '{"index":1,"sta'])[0].status
    200
    """
    found = {}
    for line in lines:
        try:
            done = CaseDone(**json.loads(line))
        except (ValueError, TypeError):
            continue
        found[done.index] = done
    return found
