"""Delete the local data of an installation, after its owner agreed to each thing named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ddx.errors import FilesInUse


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One thing that a reset deletes."""

    what: str
    """In words, with its count: `MLflow runs (12)`."""
    place: str
    size_bytes: int


class Site(Protocol):
    """The local data of one installation, and the processes that use it."""

    def losses(self) -> Sequence[Loss]:
        """Return what would be deleted. What is not ours alone is never among it."""

    def kept(self) -> Sequence[str]:
        """Say what stays, and why: a database or a store that is not a local file of ours."""

    def running(self) -> Sequence[int]:
        """Return our own processes, those first that start others again."""

    def strangers(self) -> Sequence[str]:
        """Say which other processes have the files open."""

    def said(self, pid: int) -> str:
        """Say a process in a few words."""

    def stop(self, pid: int) -> bool:
        """Ask a process to end, and wait; return whether it has ended."""

    def delete(self, loss: Loss) -> None:
        """Delete one thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a reset would do, for its owner to read first."""

    losses: Sequence[Loss]
    kept: Sequence[str]
    stops: Sequence[str]


@dataclass(slots=True, kw_only=True)
class Done:
    """What a reset did."""

    stopped: list[str] = field(default_factory=list)
    deleted: list[Loss] = field(default_factory=list)


def plan(site: Site) -> Plan:
    """Look, and change nothing."""
    return Plan(
        losses=site.losses(),
        kept=site.kept(),
        stops=[site.said(pid) for pid in site.running()],
    )


def reset(
    site: Site, agrees: Callable[[Plan], bool], save: Callable[[], None] = lambda: None
) -> Done | None:
    """Stop our processes and delete the data, if the owner agrees; None where not.

    `save` is called when nothing writes any more; what it raises saves the data. Where there is
    nothing to delete, nobody is asked and nothing is stopped. Raises FilesInUse, before anything
    is deleted, where a process stays that uses the files.
    """
    proposed = plan(site)
    if not proposed.losses:
        return Done()
    if not agrees(proposed):
        return None
    done = Done()
    for pid in site.running():
        name = site.said(pid)
        if not site.stop(pid):
            raise FilesInUse(f"{name} does not stop")
        done.stopped.append(name)
    strangers = site.strangers()
    if strangers:
        raise FilesInUse("the data is in use by " + ", ".join(strangers))
    save()
    for loss in proposed.losses:
        site.delete(loss)
        done.deleted.append(loss)
    return done
