"""One experiment for each month, where that is wanted: the newest keeps the plain name."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from ddx.core.run_draft import EXPERIMENT

PERIOD_TAG = "ddx.period"
"""On an experiment: the month that it is for, as 2026-11."""
_OURS = re.compile(rf"{EXPERIMENT}(-\d{{4}}-\d\d(-\d+)?)?")


def month_of(start_ms: int) -> str:
    """Return the month in UTC of a run.

    >>> month_of(1_796_083_199_999), month_of(1_796_083_200_000)
    ('2026-11', '2026-12')
    """
    return f"{datetime.fromtimestamp(start_ms / 1000, UTC):%Y-%m}"


def past_name(month: str) -> str:
    """Return the name of an experiment whose month is over.

    >>> past_name("2026-10")
    'ddx-server-tracking-2026-10'
    """
    return f"{EXPERIMENT}-{month}"


def is_ours(name: str, folder: str = "") -> bool:
    """Say whether an experiment is of predictions, the present one or one of the past; `folder` is
    where they are, for servers where names are paths.

    >>> [is_ours(f"ddx-server-tracking{end}") for end in ("", "-2026-10", "-misplaced-7")]
    [True, True, False]
    >>> is_ours("/Shared/ddx-server-tracking-2026-10", "/Shared")
    True
    """
    above = f"{folder}/" if folder else ""
    return name.startswith(above) and _OURS.fullmatch(name.removeprefix(above)) is not None
