"""What a backup says of itself: its manifest, the last file in it; and chains of backups."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

FORMAT = "ddx-backup/2"
_BEFORE = "ddx-backup/1"
"""Whole backups alone: it had `events` in place of `journals`, and no chain."""
NAME = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file."""

    bytes: int
    sha256: str
    """64 hex digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The last event of a journal that a backup, or its chain, holds."""

    journal_id: str
    """Empty in a backup of an earlier version."""
    seq: int
    """0 where there is none."""
    link: str
    """64 hex digits; empty where `seq` is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A backup, as one that follows it names it."""

    name: str
    """Of its file, without the folder."""
    sha256: str
    """Of its manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All that a backup holds."""

    made_at: str
    """ISO 8601 in UTC."""
    version: str
    """Of the program that made it."""
    files: Mapping[str, Entry]
    name: str = ""
    """Of its own file when it was made."""
    journals: Mapping[str, Tail] = field(default_factory=dict)
    """Instance of a journal -> its last event."""
    artifacts_path: str | None = None
    """Where MLflow's files were; None where MLflow's store is not in the backup."""
    chain: Sequence[Link] = ()
    """The backups that this one follows, the whole one first. Empty: this one is whole."""
    kept: Mapping[str, Entry] = field(default_factory=dict)
    """Files that were as an earlier backup of the chain holds them, and are not in this one."""

    @property
    def events(self) -> dict[str, int]:
        """Instance of a journal -> sequence of its last event."""
        return {instance: tail.seq for instance, tail in self.journals.items()}

    def encode(self) -> bytes:
        """Return it as the file has it."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A manifest with the digest by which others name it."""

    manifest: Manifest
    sha256: str

    @property
    def link(self) -> Link:
        """Return how the next backup names this one."""
        return Link(name=self.manifest.name, sha256=self.sha256)


def decode(text: bytes) -> Sealed:
    """Read a manifest. Raises ValueError."""
    try:
        said = json.loads(text)
        form = said.pop("format")
        if form == _BEFORE:
            last = said.pop("events", {}).items()
            journals = {one: Tail(journal_id="", seq=seq, link="") for one, seq in last}
        elif form == FORMAT:
            journals = {one: Tail(**tail) for one, tail in said.pop("journals").items()}
        else:
            raise ValueError("it is of another format")
        files, kept = (
            {name: Entry(**entry) for name, entry in said.pop(room, {}).items()}
            for room in ("files", "kept")
        )
        chain = tuple(Link(**link) for link in said.pop("chain", ()))
        manifest = Manifest(files=files, kept=kept, journals=journals, chain=chain, **said)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the manifest is not one ({type(error).__name__})") from error
    return Sealed(manifest=manifest, sha256=hashlib.sha256(text).hexdigest())


def faults(said: Manifest, found: Mapping[str, Entry]) -> list[str]:
    """Compare a manifest with the files that are there; say each difference.

    >>> one = Entry(bytes=1, sha256="aa")
    >>> said = Manifest(made_at="", version="", files={"a": one, "b": one})
    >>> faults(said, {"a": Entry(bytes=1, sha256="bb"), "c": one})
    ['a is not what was put in', 'b is missing', 'c is not in the manifest']
    """
    changed = [
        f"{name} is not what was put in" if name in found else f"{name} is missing"
        for name, entry in sorted(said.files.items())
        if found.get(name) != entry
    ]
    return changed + [
        f"{name} is not in the manifest" for name in sorted(found.keys() - said.files)
    ]


def chain_fault(found: Sequence[Sealed]) -> str | None:
    """Say what keeps these backups, in this order, from being one chain; None where they are.

    >>> from dataclasses import replace
    >>> whole = Sealed(manifest=Manifest(made_at="", version="", files={}, name="a"), sha256="1")
    >>> then = Sealed(manifest=replace(whole.manifest, name="b", chain=(whole.link,)), sha256="2")
    >>> last = Sealed(
    ...     manifest=replace(then.manifest, name="c", chain=(whole.link, then.link)), sha256="3"
    ... )
    >>> chain_fault([whole, then, last])
    >>> chain_fault([whole, last])
    'b is missing: c comes after a, b'
    >>> chain_fault([whole, last, then])
    'the order is wrong: it is a, b, c'
    >>> chain_fault([whole, whole])
    'a is a whole backup: nothing comes before it'
    """
    newest = max(found, key=lambda one: len(one.manifest.chain)).manifest
    given = {one.sha256 for one in found}
    for before, one in zip([None, *found], found, strict=False):
        if before is not None and not one.manifest.chain:
            return f"{one.manifest.name} is a whole backup: nothing comes before it"
        if before is not None and _foreign(before.manifest, one.manifest):
            return f"{one.manifest.name} is of another installation than {before.manifest.name}"
    for number, one in enumerate(found):
        expected = [link.sha256 for link in one.manifest.chain]
        if expected == [earlier.sha256 for earlier in found[:number]]:
            continue
        missing = [link.name for link in one.manifest.chain if link.sha256 not in given]
        if missing:
            names = ", ".join(link.name for link in one.manifest.chain)
            verb = "is" if len(missing) == 1 else "are"
            return f"{', '.join(missing)} {verb} missing: {one.manifest.name} comes after {names}"
        if len(given) < len(found):
            return "a backup is named twice"
        if len(newest.chain) + 1 != len(found):
            return f"{one.manifest.name} is of another chain"
        names = ", ".join([*(link.name for link in newest.chain), newest.name])
        return f"the order is wrong: it is {names}"
    return None


def _foreign(one: Manifest, other: Manifest) -> bool:
    both = one.journals.keys() & other.journals.keys()
    return any(one.journals[name].journal_id != other.journals[name].journal_id for name in both)
