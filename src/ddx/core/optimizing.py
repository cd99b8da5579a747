"""What an optimiser may see, what it may spend, and how good an answer is to it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ddx.core.caseset import Case

LEAST_EACH = 2
"""Cases on each side of a split: DSPy's optimisers split the training side again."""


class Optimizer(StrEnum):
    """How a program is compiled, by DSPy."""

    BOOTSTRAP = "bootstrap"
    """Examples: the program's own good answers to training cases."""
    MIPROV2 = "miprov2"
    """Instructions that an LLM proposes, and examples, searched together."""
    GEPA = "gepa"
    """Instructions that an LLM rewrites from what went wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Cases to train on, and cases that no optimiser sees."""

    train: tuple[Case, ...]
    test: tuple[Case, ...]


def split(cases: Sequence[Case], share: float, seed: int) -> Split:
    """Split so that all cases of a disease are on one side: an example names its disease.

    `share` of the diseases, about, are for training; the same seed splits the same cases alike,
    whatever their order.
    """
    keys = sorted({case.disease for case in cases}, key=lambda key: _lot(key, seed))
    chosen = set(keys[: min(max(1, round(share * len(keys))), max(1, len(keys) - 1))])
    return Split(
        train=tuple(case for case in cases if case.disease in chosen),
        test=tuple(case for case in cases if case.disease not in chosen),
    )


def score(rank: int | None) -> float:
    """Return how good a list is whose truth stands at `rank`: its reciprocal, 0 where absent.

    >>> score(1), score(4), score(None)
    (1.0, 0.25, 0.0)
    """
    return 0.0 if rank is None else 1 / rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How the calls that may be made are used."""

    calls: int
    """The most calls of the model while compiling; with them used up it ends."""
    demos: int = 2
    """The most examples in the compiled prompt. Each makes every later call dearer."""
    candidates: int = 3
    trials: int = 4
    """Of MIPROv2: candidates of instructions, and combinations tried on the training cases."""


def effort(optimizer: Optimizer, train: int, calls: int | None, demos: int) -> Effort:
    """Return what an optimiser may do with `train` cases; None: a usual number of calls.

    >>> effort(Optimizer.BOOTSTRAP, 20, None, 2).calls
    20
    >>> effort(Optimizer.MIPROV2, 20, 200, 2)
    Effort(calls=200, demos=2, candidates=5, trials=9)
    """
    usual = {
        Optimizer.BOOTSTRAP: train,
        Optimizer.MIPROV2: _overhead(train, 4) + 7 * _tried(train),
        Optimizer.GEPA: 10 * train,
    }
    calls = usual[optimizer] if calls is None else calls
    # As many candidates as can be tried one and a half times each, which DSPy advises.
    candidates = max([c for c in range(2, 9) if _trials(train, calls, c) >= 1.5 * c], default=2)
    return Effort(
        calls=calls,
        demos=demos,
        candidates=candidates,
        trials=max(1, _trials(train, calls, candidates)),
    )


def _tried(train: int) -> int:
    """Of the training cases, those on which MIPROv2 tries its candidates."""
    return max(1, train * 4 // 5)


def _overhead(train: int, candidates: int) -> int:
    """Calls of MIPROv2 that make candidates: it describes cases and program, proposes
    instructions, and answers the other training cases for examples.
    """
    return 5 + candidates * (3 + train - _tried(train))


def _trials(train: int, calls: int, candidates: int) -> int:
    """How often all tried cases can be asked; once goes to what it begins with."""
    return (calls - _overhead(train, candidates)) // _tried(train) - 1


def _lot(key: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\n{key}".encode()).hexdigest()
