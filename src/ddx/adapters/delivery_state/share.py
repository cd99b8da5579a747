"""The journals that one of several deliverers holds, by a lease for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from ddx.adapters.delivery_state.lease import Lease, held_by
from ddx.core.portions import move
from ddx.errors import DeliveryInUse

FOLDER = "deliverers"
MOST = 64
"""Deliverers of one data folder."""


class Share:
    """The leases of one deliverer. All are given back by the kernel when it dies."""

    def __init__(self, data: Path) -> None:
        """Be one of those who share. Raises DeliveryInUse where there are MOST of them."""
        self._folder = data / FOLDER
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._held: dict[str, Lease] = {}
        self._place = self._first_free_place()

    @property
    def held(self) -> Collection[str]:
        """The instances whose journals are this deliverer's now."""
        return self._held.keys()

    def look(self, journals: Mapping[str, bool]) -> None:
        """Give back what is too much, and take what is free. `journals`: instance -> has work.

        To be called between deliveries: a journal that is given back is another's at once.
        """
        now = move(journals, self._held, self._alive())
        for instance in now.give_back:
            self._held.pop(instance).release()
        room = {True: now.most_busy, False: now.most_idle}
        for instance in self._held:
            room[journals[instance]] -= 1
        for instance, works in sorted(journals.items()):
            if instance not in self._held and room[works] > 0 and self._take(instance):
                room[works] -= 1

    def touch(self) -> None:
        """Say that each of its journals makes progress."""
        for lease in self._held.values():
            lease.touch()

    def close(self) -> None:
        """Give all back."""
        for lease in (*self._held.values(), self._place):
            lease.release()
        self._held.clear()

    def _take(self, instance: str) -> bool:
        path = lease_of(self._folder.parent, instance)
        if held_by(path) is not None:
            return False
        try:
            self._held[instance] = Lease(path)
        except DeliveryInUse:
            return False
        return True

    def _alive(self) -> int:
        return sum(1 for path in self._folder.glob("place-*.lock") if held_by(path) is not None)

    def _first_free_place(self) -> Lease:
        for number in range(MOST):
            path = self._folder / f"place-{number:02}.lock"
            if held_by(path) is None:
                try:
                    return Lease(path)
                except DeliveryInUse:
                    continue
        raise DeliveryInUse(f"{MOST} processes deliver from {self._folder.parent.name}")


def lease_of(data: Path, instance: str) -> Path:
    """Return the file of a journal's lease."""
    return data / FOLDER / f"journal-{instance}.lock"


def chores_of(data: Path) -> Path:
    """Return the file of the lease whose holder does what is done once for a data folder."""
    return data / FOLDER / "chores.lock"


def last_progress_ms(data: Path) -> int | None:
    """Return when the journal whose deliverer is furthest behind was last seen to; None where no
    journal was ever shared out.
    """
    seen = []
    for journal in (data / "journals").glob("*.db"):
        try:
            seen.append(lease_of(data, journal.stem).stat().st_mtime_ns // 1_000_000)
        except FileNotFoundError:
            continue
    return min(seen, default=None)
