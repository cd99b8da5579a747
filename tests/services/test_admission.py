"""Refuse before any model is asked, and recover without a restart."""

from __future__ import annotations

import pytest

from ddx.errors import BacklogFull, DdxError, JournalFull
from ddx.services.admission import Admission, Backlog, Limits

LIMITS = Limits(disk_reserve_bytes=1000, backlog_bytes=5000, backlog_age_s=60.0, stalled_s=10.0)
ROOM = 1_000_000


class Site:
    """What admission looks at."""

    def __init__(self) -> None:
        self.free, self.backlog = ROOM, Backlog()
        self.admission = Admission(LIMITS, lambda: self.free, lambda: self.backlog)

    def failed(self) -> set[str]:
        return {check.name for check in self.admission.checks() if not check.ok}


@pytest.fixture
def site() -> Site:
    return Site()


def test_with_room_and_a_small_backlog_all_is_well(site: Site) -> None:
    site.backlog = Backlog(records=3, bytes=5000, oldest_age_s=60.0, idle_s=9.0)
    site.admission.refresh()
    site.admission.check()
    assert site.failed() == set()


@pytest.mark.parametrize(
    ("free", "backlog", "error", "check"),
    [
        (1000, Backlog(), JournalFull, "disk"),
        (ROOM, Backlog(records=9, bytes=5001), BacklogFull, "backlog"),
        (ROOM, Backlog(records=1, bytes=9, oldest_age_s=60.1), BacklogFull, "backlog"),
    ],
    ids=["no head-room", "too many bytes", "too old"],
)
def test_what_cannot_be_taken_safely_is_refused_until_the_cause_is_gone(
    site: Site, free: int, backlog: Backlog, error: type[DdxError], check: str
) -> None:
    site.free, site.backlog = free, backlog
    site.admission.refresh()
    for _ in range(2):
        with pytest.raises(error) as refusal:
            site.admission.check()
        assert refusal.value.advice
    assert (site.admission.refused, site.failed()) == (2, {check})
    site.free, site.backlog = ROOM, Backlog()
    site.admission.refresh()
    site.admission.check()
    assert site.failed() == set()


def test_a_deliverer_without_progress_is_told_but_refuses_nobody(site: Site) -> None:
    site.backlog = Backlog(records=1, bytes=9, oldest_age_s=11.0, idle_s=10.1)
    site.admission.refresh()
    site.admission.check()
    assert site.failed() == {"delivery"}


def test_the_time_since_the_last_progress_is_told_before_it_is_a_fault(site: Site) -> None:
    for idle_s, says in ((4.0, "progressing"), (8.0, "last progress 8 s ago")):
        site.backlog = Backlog(records=1, bytes=9, oldest_age_s=11.0, idle_s=idle_s)
        site.admission.refresh()
        assert next(c.found for c in site.admission.checks() if c.name == "delivery") == says
        assert site.failed() == set()


def test_a_deliverer_with_nothing_to_do_need_not_progress(site: Site) -> None:
    site.backlog = Backlog(idle_s=1000.0)
    site.admission.refresh()
    assert site.failed() == set()
