"""Diagnosis names of any engine to the codes of one disease, where it is surely that one."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddx.adapters.knowledge.cache import code_digest, write_whole
from ddx.adapters.knowledge.codes import SYSTEMS, codes_of
from ddx.adapters.knowledge.external import Shelf
from ddx.adapters.knowledge.external.mondo import Mondo
from ddx.adapters.knowledge.index import Index
from ddx.adapters.knowledge.merge import source_of
from ddx.adapters.knowledge.names import name_key
from ddx.adapters.knowledge.readings import loose_key, readings
from ddx.core.record import Code

log = logging.getLogger("ddx.knowledge")

_FORMS: tuple[Callable[[str], str], ...] = (lambda key: key, loose_key)
"""Forms of a `name_key`, the strictest first. The looser one is tried where the stricter one
finds nothing, and each leads only where it names one disease."""


_SHARED = -1
"""Stands for the diseases of a name that several have."""


@dataclass(slots=True)
class _Disease:
    """One disease while the table is made."""

    codes: list[list[str]]
    """[id, name] of each."""
    labels: set[str] = field(default_factory=set)
    """Keys of the names that it is called by first."""
    keys: set[str] = field(default_factory=set)
    """Keys of all its names."""


class Grounding:
    """A Terminology. Safe in threads: it only reads.

    A disease's first name wins over another one's synonym; a name that two diseases share
    names neither.
    """

    def __init__(self, codes: list[list[list[str]]], forms: list[Mapping[str, int]]) -> None:
        self._codes = codes
        self._forms = forms

    @classmethod
    def make(cls, index: Index, mondo: Mondo) -> Grounding:
        """Make it of the names that the index has, and of those of Mondo."""
        diseases = list(_diseases(index, mondo))
        return cls(
            [one.codes for one in diseases],
            [_table(diseases, form) for form in _FORMS],
        )

    @classmethod
    def open(cls, cache_dir: Path, index: Index, shelf: Shelf | None) -> Grounding:
        """Load it from `cache_dir`, or make it (seconds, where Mondo was added) and keep it."""
        made_of = [index.digest, shelf.digest if shelf else "", code_digest()]
        name = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
        path = cache_dir / f"names-{name}.json"
        found = _load(path)
        if found is not None:
            return found
        made = cls.make(index, Mondo.read(shelf.files if shelf else {}))
        try:
            cache_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(path, lambda file: file.write(made.dump()))
        except OSError as error:
            log.warning("names not cached", extra={"error": type(error).__name__})
        return made

    def dump(self) -> bytes:
        """Return what `load` reads."""
        said = {"codes": self._codes, "forms": self._forms}
        body = json.dumps(said, ensure_ascii=False).encode()
        return hashlib.sha256(body).hexdigest().encode() + b"\n" + body

    @classmethod
    def load(cls, dumped: bytes) -> Grounding:
        """Raises ValueError, TypeError and KeyError where it does not read as it was written."""
        digest, _, body = dumped.partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != digest:
            raise ValueError("the digest differs")
        said: Any = json.loads(body)
        return cls(said["codes"], said["forms"])

    def codes(self, name: str) -> tuple[Code, ...]:
        """Return the codes of one disease; see ports.Terminology."""
        disease = self.find(name)
        if disease is None:
            return ()
        return codes_of(self._codes[disease])

    def find(self, name: str) -> int | None:
        """Return the number of the disease that a name surely means, None where there is none.

        What stands in brackets may name it too: where it names another than what stands
        outside, neither is sure, unless the whole is a name.
        """
        said = list(dict.fromkeys(name_key(reading) for reading in readings(name)))
        for form, table in zip(_FORMS, self._forms, strict=True):
            whole = table.get(form(said[0]), _SHARED) if said else _SHARED
            if whole != _SHARED:
                return whole
            found = {row for key in said if (row := table.get(form(key))) is not None}
            if found:
                return None if len(found) > 1 or _SHARED in found else found.pop()
        return None


def _diseases(index: Index, mondo: Mondo) -> Iterator[_Disease]:
    taken: set[str] = set()
    for entry in index.strings["diseases"]:
        codes = [[id, name] for id, name in entry["codes"] if source_of(id) in SYSTEMS]
        one = _Disease(codes, {name_key(entry["name"])}, set(entry["keys"]))
        for id in [id for id, _ in codes if source_of(id) == "MONDO"]:
            taken.add(id)
            _add(one, id, mondo)
        yield one
    for id in mondo.labels:
        if id not in taken:
            one = _Disease([list(code) for code in mondo.codes(id)])
            _add(one, id, mondo)
            yield one


def _add(one: _Disease, id: str, mondo: Mondo) -> None:
    if label := mondo.labels.get(id):
        one.labels.add(name_key(label))
    one.keys.update(name_key(name) for name in mondo.names(id))


def _table(diseases: Iterable[_Disease], form: Callable[[str], str]) -> dict[str, int]:
    labels: dict[str, set[int]] = defaultdict(set)
    synonyms: dict[str, set[int]] = defaultdict(set)
    for number, one in enumerate(diseases):
        for key in one.labels:
            labels[form(key)].add(number)
        for key in one.keys:
            synonyms[form(key)].add(number)
    found = {}
    for key in {**labels, **synonyms}:
        owners = labels.get(key) or synonyms[key]
        if key:
            found[key] = next(iter(owners)) if len(owners) == 1 else _SHARED
    return found


def _load(path: Path) -> Grounding | None:
    try:
        return Grounding.load(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("names made anew", extra={"error": type(error).__name__})
        return None
