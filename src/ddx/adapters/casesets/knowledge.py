"""Files that grading and the public sets' forms need, in a folder that the user names."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

from ddx.adapters.casesets.ddxplus_text import Evidences
from ddx.core.grading import PRECISE, Relations, normal_id
from ddx.errors import BadCases

XREFS, EDGES, EVIDENCES = "mondo_xref.tsv.gz", "mondo_rare_edges.tsv.gz", "*release_evidences.json"
MONDO_FILES = (XREFS, EDGES)
_SERIES = "OMIMPS"


def read_evidences(folder: Path | None) -> Evidences:
    """Read DDXPlus's release_evidences.json. Raises BadCases."""
    if folder is None:
        raise BadCases(
            "these cases are DDXPlus's codes: name the folder of its release_evidences.json with"
            " --knowledge"
        )
    found = sorted(folder.glob(EVIDENCES))
    if not found:
        raise BadCases(f"{folder} has no file {EVIDENCES}")
    try:
        return Evidences(json.loads(found[0].read_bytes()))
    except ValueError:
        raise BadCases(f"{found[0]} is not JSON") from None


def read_relations(folder: Path) -> Relations:
    """Read Mondo's cross-references and edges. Raises BadCases where they are not there.

    Columns: `mondo_id, label, xref`; and `child, parent` without a head.
    """
    equivalents: dict[str, set[str]] = defaultdict(set)
    series: set[str] = set()
    for mondo, _, xref in _rows(folder / XREFS, 3):
        if xref.startswith(f"{_SERIES}:"):
            series.add(mondo)
        elif normal_id(xref).partition(":")[0] in PRECISE:
            equivalents[normal_id(xref)].add(mondo)
    parents: dict[str, set[str]] = defaultdict(set)
    for child, parent in _rows(folder / EDGES, 2):
        parents[child].add(parent)
    return Relations(
        equivalents={id: frozenset(found) for id, found in equivalents.items()},
        parents={id: frozenset(found) for id, found in parents.items()},
        members=_members(series, parents),
    )


def _members(
    series: AbstractSet[str], parents: Mapping[str, set[str]]
) -> dict[str, frozenset[str]]:
    """Return what is in each phenotypic series, at any depth."""
    children: dict[str, set[str]] = defaultdict(set)
    for child, above in parents.items():
        for parent in above:
            children[parent].add(child)
    found: dict[str, frozenset[str]] = {}
    for id in series:
        below, waiting = set[str](), [id]
        while waiting:
            new = children[waiting.pop()] - below
            below |= new
            waiting += new
        found[id] = frozenset(below)
    return found


def _rows(path: Path, columns: int) -> Iterator[tuple[str, ...]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for number, text in enumerate(file, start=1):
                row = tuple(text.rstrip("\n").split("\t"))
                if len(row) != columns:
                    raise BadCases(f"{path}, line {number}: {columns} columns are expected")
                yield row
    except FileNotFoundError:
        raise BadCases(f"grading by Mondo needs {path.name}, which {path.parent} lacks") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadCases(f"{path} cannot be read: {type(error).__name__}") from error
