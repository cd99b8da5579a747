"""The embedded engine: no key, no network."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddx.adapters.knowledge.answer import (
    answered,
    declined,
    is_enough,
    prompt_used,
    raw_output,
)
from ddx.adapters.knowledge.build import build
from ddx.adapters.knowledge.cache import load_or_build
from ddx.adapters.knowledge.case import Case, coded_case, combine
from ddx.adapters.knowledge.explain import Explainer
from ddx.adapters.knowledge.index import Index
from ddx.adapters.knowledge.merge import merge, source_of
from ddx.adapters.knowledge.names import NameIndex
from ddx.adapters.knowledge.pack import COMMON, load_pack, pack_digests
from ddx.adapters.knowledge.ranking import Ranker
from ddx.adapters.knowledge.schema import read_manifest
from ddx.adapters.knowledge.sources import Sources, read_hpoa, read_obo
from ddx.adapters.knowledge.text import read_text
from ddx.core.record import Code, EngineAnswer, Failed, Request
from ddx.errors import EngineError, ModelDeadline

log = logging.getLogger("ddx.knowledge")

LICENCE = (
    "This service uses the Human Phenotype Ontology, developed by the Human Phenotype Ontology "
    "Consortium and the Monarch Initiative (https://hpo.jax.org/app/license): free to use; the "
    "consortium is named, the version is shown, and neither content nor logic is changed."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What the engine knows, and by whose leave."""

    sources: tuple[str, ...]
    version: str
    """Date of the HPO's release."""
    licence: str
    counts: Mapping[str, int]
    digest: str
    """SHA-256 of the index, 64 hex digits."""
    source_digests: Mapping[str, str]
    """SHA-256 of each file that it was made from."""


class KnowledgeEngine:
    """An Engine and a Terminology over one index. Safe in threads: it only reads."""

    def __init__(
        self, index: Index, sources: tuple[str, ...], source_digests: Mapping[str, str]
    ) -> None:
        self._index = index
        self._sources, self._source_digests = sources, source_digests
        self._ranker = Ranker(index)
        self._explainer = Explainer(self._ranker)
        self._names = NameIndex(entry["keys"] for entry in index.strings["diseases"])
        # Made now: the first request does not wait for them.
        _ = index.rows, index.phrases

    @classmethod
    def open(cls, cache_dir: Path) -> KnowledgeEngine:
        """Load the index from `cache_dir`, or make it (seconds) and keep it there.

        Raises MissingExtra where the package that carries the HPO is not installed.
        """
        sources = Sources.installed()
        files = {f"{COMMON.name}/{name}": hash for name, hash in pack_digests(COMMON).items()}
        digests = sources.digests() | files

        def from_sources() -> tuple[dict[str, Any], dict[str, Any], str]:
            ontology = read_obo(sources.obo)
            pack = load_pack(COMMON, ontology)
            diseases = merge((*read_hpoa(sources.hpoa), *pack.profiles()))
            return *build(pack.extend(ontology), diseases), ontology.version

        index = load_or_build(cache_dir, digests, from_sources)
        manifest = read_manifest(COMMON / "manifest.toml")
        names = (
            f"{sources.package}: hp.obo",
            f"{sources.package}: phenotype.hpoa",
            f"pack {manifest.name} {manifest.version}: {manifest.label} {manifest.licence}.",
        )
        return cls(index, names, digests)

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
        ranking = self._ranker.rank(case, request.setting) if is_enough(index, case) else None
        return EngineAnswer(
            outcome=(
                declined(case)
                if ranking is None or not len(ranking.order)
                else answered(index, self._explainer, case, ranking, request)
            ),
            prompt_used=prompt_used(index, case, request, self._ranker.weights),
            raw_output=raw_output(index, ranking, request.top_differential),
            program_digest=index.digest,
        )

    def codes(self, name: str) -> tuple[Code, ...]:
        """Return the codes of one disease; see ports.Terminology."""
        disease = self._names.find(name)
        return () if disease is None else self._explainer.codes(disease)

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


def _failed(error: EngineError) -> EngineAnswer:
    return EngineAnswer(outcome=Failed(code=error.code, message=str(error), advice=error.advice))
