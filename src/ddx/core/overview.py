"""All figures of a look at what the server did, in one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ddx.core.report import (
    By,
    Choices,
    Difference,
    Failure,
    Figures,
    Question,
    differences,
    said,
    step_of,
)

_STEP = {By.HOUR: timedelta(hours=1), By.DAY: timedelta(days=1), By.WEEK: timedelta(days=7)}
_MOST_STEPS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What a dashboard shows. Parts are asked one after the other: what came in between is in the
    later ones.
    """

    question: Question
    """Without `by`."""
    step: By
    """In which the time is told."""
    all: Figures
    times: Sequence[Figures]
    """By `step`; steps in which nothing came have no entry."""
    usage: Sequence[Figures]
    """By `step` and model; counts alone."""
    settings: Sequence[Figures]
    """By what settings are compared by, `compared_by`."""
    compared_by: tuple[By, ...]
    errors: Sequence[Figures]
    """What failed, by error code and model; counts alone."""
    failures: Sequence[Failure]
    """The newest."""
    choices: Choices
    change: int
    """The ledger's number when it was asked."""


def step_for(question: Question, choices: Choices) -> By:
    """Return the step in which a question's time is best told."""
    if choices.first is None or choices.last is None:
        return By.DAY
    first, last = begin_and_end(question, choices.first, choices.last)
    return step_of(max(last - first, timedelta(0)))


def begin_and_end(question: Question, first: datetime, last: datetime) -> tuple[datetime, datetime]:
    """Return the time that a question is about, of what there is from `first` to `last`."""
    return (max(first, question.since or first), min(last, question.until or last))


def filled(times: Sequence[Figures], step: By) -> Sequence[Figures]:
    """Return the same figures with those of nothing where a step had none, so that a chart shows
    the gap.

    >>> monday = datetime(2026, 1, 5)
    >>> times = [Figures(key=(monday,)), Figures(key=(monday + timedelta(days=2),))]
    >>> [one.key[0].day for one in filled(times, By.DAY)]
    [5, 6, 7]
    """
    if not times:
        return ()
    there = {one.key[0]: one for one in times}
    first, last = times[0].key[0], times[-1].key[0]
    count = (last - first) // _STEP[step] + 1
    if count > _MOST_STEPS:
        return times
    moments = (first + number * _STEP[step] for number in range(count))
    return [there.get(moment) or Figures(key=(moment,)) for moment in moments]


def name_of(figures: Figures) -> str:
    """Say which settings a group has.

    >>> name_of(Figures(key=("gpt-4o", 1, None)))
    'gpt-4o, 1, none'
    """
    return ", ".join(said(value) for value in figures.key)


def compared(settings: Sequence[Figures], one: str, other: str) -> Sequence[Difference]:
    """Set two groups against each other, by their names; empty where either is not there."""
    named = {name_of(group): group for group in settings}
    if one == other or one not in named or other not in named:
        return ()
    return differences(named[one], named[other])


def only(question: Question, by: By, value: str) -> Question:
    """Return the same question of fewer predictions."""
    return replace(question, where={**question.where, by: value})
