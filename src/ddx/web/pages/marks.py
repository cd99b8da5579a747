"""The case as pieces: what an answer quotes, and what it does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the case that is quoted throughout, or not at all."""

    text: str
    marked: bool


def pieces(case: str, result: Iterable[Mapping[str, Any]]) -> list[Piece]:
    """Cut a case at the ends of all quotes, so that they may overlap.

    >>> quotes = [{"supporting": [{"start": 3, "end": 8}], "contradicting": []}]
    >>> [(piece.text, piece.marked) for piece in pieces("No fever.", quotes)]
    [('No ', False), ('fever', True), ('.', False)]
    """
    spans = [
        (one["start"], one["end"])
        for diagnosis in result
        for one in (*diagnosis["supporting"], *diagnosis["contradicting"])
        if one["start"] is not None
    ]
    cuts = sorted({0, len(case), *(place for span in spans for place in span)})
    return [
        Piece(case[start:end], any(a <= start and end <= b for a, b in spans))
        for start, end in pairwise(cuts)
    ]
