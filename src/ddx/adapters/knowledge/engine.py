"""The embedded engine: no key, no network."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddx.adapters.knowledge.answer import (
    answered,
    declined,
    is_convincing,
    is_enough,
    prompt_used,
    raw_output,
)
from ddx.adapters.knowledge.build import build
from ddx.adapters.knowledge.cache import load_or_build
from ddx.adapters.knowledge.case import Case, coded_case, combine
from ddx.adapters.knowledge.explain import Explainer
from ddx.adapters.knowledge.external import Shelf
from ddx.adapters.knowledge.external.library import Library
from ddx.adapters.knowledge.index import Index
from ddx.adapters.knowledge.merge import merge, source_of
from ddx.adapters.knowledge.pack import COMMON, load_pack, pack_digests
from ddx.adapters.knowledge.ranking import Ranker, Ranking
from ddx.adapters.knowledge.schema import read_manifest
from ddx.adapters.knowledge.signal import TextSignal
from ddx.adapters.knowledge.sources import Sources, read_hpoa, read_obo, read_version
from ddx.adapters.knowledge.text import read_text
from ddx.core.record import EngineAnswer, Failed, Request
from ddx.errors import EngineError, ModelDeadline

log = logging.getLogger("ddx.knowledge")

LICENCE = (
    "This service uses the Human Phenotype Ontology, developed by the Human Phenotype Ontology "
    "Consortium and the Monarch Initiative (https://hpo.jax.org/app/license): free to use; the "
    "consortium is named, the version is shown, and neither content nor logic is changed."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a part of the knowledge comes from, and by whose leave."""

    source: str
    version: str | None
    """None where the source does not say it."""
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What the engine knows, and by whose leave."""

    sources: tuple[Origin, ...]
    version: str
    """Date of the HPO's release."""
    licence: str
    counts: Mapping[str, int]
    digest: str
    """SHA-256 of the index, 64 hex digits."""
    source_digests: Mapping[str, str]
    """SHA-256 of each file that it was made from."""


class KnowledgeEngine:
    """An Engine over one index. Safe in threads: it only reads."""

    def __init__(
        self, index: Index, sources: tuple[Origin, ...], source_digests: Mapping[str, str]
    ) -> None:
        self._index = index
        self._sources, self._source_digests = sources, source_digests
        self._ranker = Ranker(index)
        self._signal = TextSignal(index)
        self._explainer = Explainer(self._ranker)
        # Made now: the first request does not wait for them.
        _ = index.rows, index.phrases

    @classmethod
    def open(cls, cache_dir: Path, shelf: Shelf | None = None) -> KnowledgeEngine:
        """Load the index from `cache_dir`, or make it (seconds) and keep it there.

        `shelf`: what was added to the knowledge that the program carries. Raises MissingExtra
        where the package that carries the HPO is not installed.
        """
        sources = Sources.installed().with_newer(shelf.files if shelf else {})
        files = {f"{COMMON.name}/{name}": hash for name, hash in pack_digests(COMMON).items()}
        added = {f"added/{name}": hash for name, hash in (shelf.digests if shelf else {}).items()}
        digests = sources.digests() | files | added

        def from_sources() -> tuple[dict[str, Any], dict[str, Any], str]:
            ontology = read_obo(sources.obo)
            pack = load_pack(COMMON, ontology)
            library = Library.read(shelf.files if shelf else {})
            extended = library.extend(pack.extend(ontology))
            profiles = library.described(
                library.widened(
                    (*read_hpoa(sources.hpoa), *pack.profiles(), *library.ddxplus.profiles)
                ),
                extended,
            )
            diseases = merge(profiles, library.same(profiles))
            arrays, strings = build(
                extended,
                diseases,
                library.texts_of,
                library.other_texts(diseases),
                library.ddxplus.asked,
            )
            return arrays, strings, ontology.version

        index = load_or_build(cache_dir, digests, from_sources)
        return cls(index, tuple(_origins(sources, shelf)), digests)

    @property
    def index(self) -> Index:
        """What it knows."""
        return self._index

    async def ask(self, request: Request, deadline_s: float) -> EngineAnswer:
        """Answer within `deadline_s`; see ports.Engine."""
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.to_thread(self.answer, request)
        except TimeoutError:
            return _failed(ModelDeadline(f"no ranking within {deadline_s:g} s"))
        except Exception as error:
            # Only its class: the error's own text, and its trace, could hold patient text.
            log.critical("knowledge engine failed", extra={"error": type(error).__name__})
            return _failed(EngineError(f"the ranking failed with {type(error).__name__}"))

    def answer(self, request: Request) -> EngineAnswer:
        """Answer now, in this thread: some milliseconds."""
        index, case = self._index, self._read(request)
        ranking = self._ranked(case, request) if is_enough(index, case) else None
        return EngineAnswer(
            outcome=(
                declined(index, case, ranking)
                if ranking is None or not is_convincing(ranking)
                else answered(index, self._explainer, case, ranking, request)
            ),
            prompt_used=prompt_used(index, case, request, self._ranker.weights),
            raw_output=raw_output(index, ranking, request.top_differential),
            program_digest=index.digest,
        )

    def _ranked(self, case: Case, request: Request) -> Ranking:
        standing = self._signal.standing(request.case) if request.case else None
        return self._ranker.rank(case, request.setting, standing)

    def describe(self) -> Description:
        """Say what the engine knows, from where, and under which licence."""
        profiles = [
            source_of(id) for entry in self._index.strings["diseases"] for id, _ in entry["codes"]
        ]
        return Description(
            sources=self._sources,
            version=self._index.version,
            licence=f"{LICENCE} Release {self._index.version}.",
            counts={
                "diseases": self._index.n_diseases,
                "findings": self._index.n_terms,
                "annotations": len(self._index.arrays["ann_term"]),
                "texts": self._index.strings["texts"],
                "phrases": len(self._index.arrays["phrase_term"]),
                **{f"{name}_profiles": profiles.count(name) for name in sorted(set(profiles))},
            },
            digest=self._index.digest,
            source_digests=dict(self._source_digests),
        )

    def _read(self, request: Request) -> Case:
        cases = []
        if request.findings is not None:
            cases.append(coded_case(self._index, request.findings))
        if request.case:
            cases.append(read_text(self._index, request.case))
        return combine(self._index, *cases)


def _origins(sources: Sources, shelf: Shelf | None) -> Iterator[Origin]:
    for path, place in ((sources.obo, sources.package), (sources.hpoa, sources.package)):
        added = shelf is not None and path.parent == shelf.folder
        yield Origin(
            source=f"Human Phenotype Ontology, {path.name} ({'added' if added else place})",
            version=read_version(path),
            licence="free use, the consortium named",
        )
    manifest = read_manifest(COMMON / "manifest.toml")
    yield Origin(
        source=f"pack {manifest.name}. {manifest.label}",
        version=manifest.version,
        licence=manifest.licence,
    )
    for item in shelf.items if shelf else ():
        if item.name not in (sources.obo.name, sources.hpoa.name):
            yield Origin(
                source=f"{item.source}, {item.name} (added)",
                version=item.version,
                licence=item.licence,
            )


def _failed(error: EngineError) -> EngineAnswer:
    return EngineAnswer(outcome=Failed(code=error.code, message=str(error), advice=error.advice))
