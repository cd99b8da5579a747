"""Whether a request may be taken: refuse before any model is asked, recover by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ddx.errors import BacklogFull, DdxError, JournalFull
from ddx.ports import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What is in the journal and not yet in MLflow."""

    records: int = 0
    bytes: int = 0
    oldest_age_s: float = 0.0
    quarantined: int = 0
    idle_s: float = 0.0
    """Since the deliverer last made progress or found nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When to refuse."""

    disk_reserve_bytes: int
    backlog_bytes: int
    backlog_age_s: float
    stalled_s: float = 60.0
    """A deliverer without progress for so long, with work waiting, is reported."""


_MOMENT_S = 5.0
"""A deliverer that has nothing to do, or is at its next records, says so more often."""


def _progress(backlog: Backlog) -> str:
    if backlog.records and backlog.idle_s > _MOMENT_S:
        return f"last progress {backlog.idle_s:.0f} s ago"
    return "progressing"


class Admission:
    """Looks now and then (`refresh`), and answers at once from what it last saw (`check`)."""

    def __init__(
        self, limits: Limits, free_bytes: Callable[[], int], backlog: Callable[[], Backlog]
    ) -> None:
        self.limits = limits
        self._free_bytes = free_bytes
        self._look = backlog
        self.free_bytes = limits.disk_reserve_bytes + 1
        self.backlog = Backlog()
        self.refused = 0

    def refresh(self) -> None:
        """Look at disk and backlog. Blocks for some milliseconds: not for the event loop."""
        self.free_bytes = self._free_bytes()
        self.backlog = self._look()

    def check(self) -> None:
        """Raise JournalFull or BacklogFull where nothing more can be taken safely."""
        trouble = self._trouble()
        if trouble is not None:
            self.refused += 1
            raise trouble

    def checks(self) -> list[Check]:
        """Return disk, backlog and progress, for /readyz."""
        backlog, limits = self.backlog, self.limits
        stalled = backlog.records > 0 and backlog.idle_s > limits.stalled_s
        return [
            Check(
                name="disk",
                ok=self.free_bytes > limits.disk_reserve_bytes,
                found=f"{self.free_bytes // 2**20} MiB free",
                advice="Free some space on the journal's disk.",
            ),
            Check(
                name="backlog",
                ok=not isinstance(self._trouble(), BacklogFull),
                found=f"{backlog.records} records wait, the oldest {backlog.oldest_age_s:.0f} s",
                advice="Bring MLflow back: delivery goes on by itself.",
            ),
            Check(
                name="delivery",
                ok=not stalled,
                found=_progress(backlog),
                advice="Look at `ddx doctor`: MLflow may be away.",
            ),
        ]

    def _trouble(self) -> DdxError | None:
        if self.free_bytes <= self.limits.disk_reserve_bytes:
            return JournalFull(f"Only {self.free_bytes // 2**20} MiB of disk are left.")
        if self.backlog.bytes > self.limits.backlog_bytes:
            return BacklogFull(f"{self.backlog.bytes // 2**20} MiB wait for delivery.")
        if self.backlog.oldest_age_s > self.limits.backlog_age_s:
            return BacklogFull(f"A record has waited {self.backlog.oldest_age_s:.0f} s.")
        return None
