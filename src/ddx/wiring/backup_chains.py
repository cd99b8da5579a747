"""Backups that follow each other: the one that a new one follows, and all of one chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddx.adapters import archive, backups_made
from ddx.core.archive import Sealed, chain_fault, decode
from ddx.errors import BrokenChain, OutputRefused
from ddx.settings import Settings

LATEST = "latest"
"""In place of a name: the newest that this installation remembers."""
Read = Callable[[archive.Place, int], Sealed]


def previous(settings: Settings, said: str, identity: Path | None) -> Sealed:
    """Return the backup that a new one is to follow: `latest`, a backup's place, or the file of
    its manifest.

    One that was made here is remembered, and not read. Raises BadBackup, OutputRefused.
    """
    remembered = backups_made.newest_first(settings.data)
    if said == LATEST:
        last = next(remembered, None)
        if last is None:
            raise OutputRefused("no backup is remembered here: make a whole one, without --since")
        where = archive.place(last.place)
        if _size(where) != last.bytes:
            raise OutputRefused(
                f"the latest backup, {last.place}, is not there any more: name another, or make a"
                " whole one, without --since"
            )
        return decode(last.manifest.encode())
    where = archive.place(said)
    size = _size(where)
    if size is None:
        raise OutputRefused(f"{said} is not there: --since names a backup made before")
    for made in remembered:
        if made.bytes == size and made.place.rpartition("/")[2] == where.name:
            return decode(made.manifest.encode())
    return archive.read_manifest(where, identity)


def _size(where: archive.Place) -> int | None:
    try:
        return where.size()
    except OSError as error:
        raise OutputRefused(f"{where.said} cannot be asked for: {error.strerror}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Backups of one chain, each read whole, the whole one first."""

    places: Sequence[archive.Place]
    sealed: Sequence[Sealed]
    numbers: Sequence[int]
    """What each was read as."""

    @property
    def newest(self) -> Sealed:
        """Return the last."""
        return self.sealed[-1]


def read_chain(named: Sequence[str], read: Read) -> Chain:
    """Read backups, in the order in which they were made; where one increment alone is named,
    the others are looked for beside it.

    `read` takes a place and a number of its own. Raises BadBackup, BrokenChain.
    """
    places = [archive.place(one) for one in named]
    numbers = list(range(len(places)))
    sealed = [read(place, number) for number, place in enumerate(places)]
    if len(places) == 1 and sealed[0].manifest.chain:
        last = places[0]
        before = [archive.place(last.beside(one.name)) for one in sealed[0].manifest.chain]
        missing = [one.name for one in before if _size(one) is None]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            raise BrokenChain(
                f"{last.name} is an increment, and {', '.join(missing)} {verb} not beside it"
            )
        places = [*before, last]
        numbers = [*range(1, len(places)), 0]
        sealed = [*(read(one, number) for number, one in enumerate(before, 1)), sealed[0]]
    fault = chain_fault(sealed)
    if fault is not None:
        raise BrokenChain(fault)
    return Chain(places=places, sealed=sealed, numbers=numbers)
