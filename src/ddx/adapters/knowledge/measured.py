"""What a number of a case text says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """A finding that a number says."""

    term: str
    """HPO id."""
    present: bool
    """False: it was measured, and is normal."""
    start: int
    end: int
