"""The official releases, fetched, verified, and brought into the form of added files."""

from __future__ import annotations

import gzip
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ddx.adapters.knowledge.external.kinds import HPOA, OBO
from ddx.adapters.knowledge.external.mondo import EDGES, SYNONYMS, XREFS
from ddx.adapters.knowledge.sources import read_synonyms, stanzas
from ddx.errors import BadKnowledge, KnowledgeUnreachable

MONDO_OBO = "mondo.obo"
LARGEST_BYTES = 1 << 29
FEWEST_DISEASES = 20_000
"""Mondo has more since 2019: fewer is half a file."""
_TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 18
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_HERE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Folders on the web that hold the newest release of each."""

    mondo: str
    hpo: str


def fetch(
    addresses: Addresses,
    folder: Path,
    told: Callable[[str, int, int | None], None] = lambda name, done, size: None,  # noqa: ARG005
    fewest: int = FEWEST_DISEASES,
) -> dict[str, str]:
    """Put the newest files into an empty folder; return the releases of those of Mondo.

    `told` hears of each file how many bytes of how many have come (None: not said). Raises
    KnowledgeUnreachable, and BadKnowledge where Mondo's file is not what it should be.
    """
    draft = folder / f".{MONDO_OBO}"
    try:
        _download(f"{addresses.mondo.rstrip('/')}/{MONDO_OBO}", draft, told)
        version = _convert(draft, folder, fewest)
    finally:
        draft.unlink(missing_ok=True)
    for name in (OBO, HPOA):
        _download(f"{addresses.hpo.rstrip('/')}/{name}", folder / name, told)
    return dict.fromkeys((XREFS, SYNONYMS, EDGES), version)


def _download(url: str, path: Path, told: Callable[[str, int, int | None], None]) -> None:
    name = path.name.lstrip(".")
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _HERE):
        raise KnowledgeUnreachable(f"{name} would come over an address that is not https.")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, path.open("wb") as file:  # noqa: S310
            if urlsplit(answer.url).scheme != parts.scheme:
                raise KnowledgeUnreachable(f"{parts.hostname} led away from {parts.scheme}.")
            said = answer.headers.get("Content-Length", "")
            size, done = (int(said) if said.isdecimal() else None), 0
            while chunk := answer.read(_CHUNK_BYTES):
                done += len(chunk)
                if done > LARGEST_BYTES:
                    raise BadKnowledge(f"{name} is larger than {LARGEST_BYTES >> 20} MiB.")
                file.write(chunk)
                told(name, done, size)
    except urllib.error.HTTPError as error:
        raise KnowledgeUnreachable(
            f"{parts.hostname} answers {error.code} when asked for {name}."
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise KnowledgeUnreachable(
            f"{name} cannot be fetched from {parts.hostname}: {reason}."
        ) from error
    if size is not None and done != size:
        raise KnowledgeUnreachable(f"{parts.hostname} sent {done} of {size} bytes of {name}.")


def _convert(obo: Path, folder: Path, fewest: int) -> str:
    """Write the three tables of Mondo's file; return its release."""
    version = ""
    xrefs: list[tuple[str, ...]] = [("mondo_id", "label", "xref")]
    synonyms: list[tuple[str, ...]] = [("ID", "LABEL", "SYNONYMS")]
    edges: list[tuple[str, ...]] = []
    try:
        for kind, tags in stanzas(obo):
            if not kind and (found := _DATE.search(" ".join(tags.get("data-version", ())))):
                version = found.group()
            ids = tags.get("id", [""])
            if kind != "Term" or "is_obsolete" in tags or not ids[0].startswith("MONDO:"):
                continue
            id, label = ids[0], _flat(tags["name"][0])
            exact = [
                _flat(one.text)
                for one in read_synonyms(tags.get("synonym", ()))
                if one.scope == "EXACT"
            ]
            synonyms.append((id, label, "|".join(name.replace("|", "/") for name in exact)))
            xrefs += [(id, label, code) for code in _equal(tags.get("xref", ()))]
            parents = (line.split(" ", 1)[0] for line in tags.get("is_a", ()))
            edges += [(id, above) for above in parents if above.startswith("MONDO:")]
    except (UnicodeDecodeError, KeyError, IndexError) as error:
        raise BadKnowledge(f"{MONDO_OBO} cannot be read: {type(error).__name__}.") from error
    if not version or len(synonyms) <= fewest:
        raise BadKnowledge(f"{MONDO_OBO} names no release, or fewer than {fewest} diseases.")
    for name, rows in ((XREFS, xrefs), (SYNONYMS, synonyms), (EDGES, edges)):
        _write(folder / name, rows)
    return version


def _equal(lines: Iterable[str]) -> list[str]:
    """Return the codes that Mondo says are equal: not those that are only near.

    >>> _equal(['OMIM:154700 {source="MONDO:equivalentTo"}', 'SCTID:19346006', 'GARD:6975 {}'])
    ['OMIM:154700']
    """
    return [line.split(" ", 1)[0] for line in lines if "MONDO:equivalentTo" in line]


def _flat(text: str) -> str:
    return " ".join(text.split())


def _write(path: Path, rows: Iterable[tuple[str, ...]]) -> None:
    # No date and no name inside: the same release makes the same file.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
        for row in rows:
            file.write(("\t".join(row) + "\n").encode())
