"""Temperatures of the knowledge engine, fitted on development cases, and how calibrated it is.

For each setting, and for codes and prose apart: the temperature that gives the first place the
least log loss (was it the truth?), over every case that was not declined, those whose disease the
engine does not know included. Of coded cases only those whose own paper is no source of the
disease's annotations. Fitted on the even half of the cases, reported on the odd half, by the
digest of their ids: expected calibration error in ten bins of equal size, as it stands and fitted.

    TEST_DATA=/path/to/data python -m bench.calibration
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ddx.adapters.knowledge import KnowledgeEngine
from ddx.adapters.knowledge.answer import is_enough
from ddx.adapters.knowledge.names import name_key
from ddx.core.record import Findings, Request, Setting

GROUPS: dict[str, tuple[Setting, tuple[str, ...]]] = {
    "primary care, prose": (Setting.PRIMARY_CARE, ("craftmd", "agentclinic_medqa")),
    "emergency, prose": (Setting.EMERGENCY, ("craftmd", "agentclinic_medqa")),
    "genetics, codes": (Setting.GENETICS, ("reese5213", "phenopackets")),
    "genetics, prose": (Setting.GENETICS, ("mac302", "dxgpt_synthetic200")),
}
MOST = 1500
"""At most so many cases of a set."""
GRID = np.arange(0.5, 8.01, 0.1)


class Truth:
    """Which rows of the index are a case's truth: by code, by Mondo's references, by name."""

    def __init__(self, engine: KnowledgeEngine, data: Path) -> None:
        self._codes: dict[str, set[int]] = defaultdict(set)
        for row, entry in enumerate(engine._index.strings["diseases"]):
            for key in (*(id for id, _ in entry["codes"]), *entry["keys"]):
                self._codes[key].add(row)
        self._mondo: dict[str, set[str]] = {}
        with gzip.open(data / "knowledge" / "mondo_xref.tsv.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                id, name, *others = line.rstrip("\n").split("\t")
                codes = {code.strip() for one in others for code in one.split("|")}
                ours = {code.replace("Orphanet:", "ORPHA:") for code in codes}
                same = {c for c in ours if c.startswith(("OMIM:", "ORPHA:"))}
                self._mondo[id] = same | {id, name_key(name)}

    def rows(self, case: dict[str, Any]) -> set[int]:
        truth = case["truth"]
        keys = {name_key(truth["name"]), *truth["ids"]}
        for id in truth["ids"]:
            keys |= self._mondo.get(id, set())
        return {row for key in keys for row in self._codes.get(key, ())}


def cases_of(data: Path, name: str) -> list[dict[str, Any]]:
    lines = (data / "cases" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    usable = [
        case
        for case in found
        if not case.get("name_in_text")
        and not case.get("pmid_in_kb")
        and case.get("answer_is_known_disease", True)
    ]
    return sorted(usable, key=lambda case: _digest(case["id"]))[:MOST]


def scored(
    engine: KnowledgeEngine, truth: Truth, data: Path, setting: Setting, names: tuple[str, ...]
) -> Iterator[tuple[str, Any, bool]]:
    """Yield each answered case's id, its scores below the best, and whether the best is right."""
    for name in names:
        for case in cases_of(data, name):
            request = _request(case, setting)
            read = engine._read(request)
            if not is_enough(engine._index, read):
                continue
            ranking = engine._ranker.rank(read, setting)
            first = int(ranking.order[0])
            below = ranking.scores - ranking.scores[first]
            yield case["id"], below[below > -60], first in truth.rows(case)


def confidence(below: Any, temperature: float) -> float:
    return float(1.0 / np.exp(below / temperature).sum())


def log_loss(shares: Any, right: Any) -> float:
    shares = np.clip(shares, 1e-4, 1 - 1e-4)
    return float(-np.where(right, np.log(shares), np.log1p(-shares)).mean())


def calibration_error(shares: Any, right: Any, bins: int = 10) -> float:
    """Mean distance between what was said and what came true, over bins of equal size.

    >>> calibration_error(np.array([0.5, 0.5]), np.array([True, False]), bins=1)
    0.0
    """
    order = np.argsort(shares)
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [abs(shares[part].mean() - right[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / len(shares))


def _request(case: dict[str, Any], setting: Setting) -> Request:
    if "case_text" in case:
        return Request(model_name="knowledge", case=case["case_text"], setting=setting)
    coded = Findings(
        present=tuple(case["present"]),
        absent=tuple(case["absent"]),
        sex=case.get("sex"),
        age=case.get("age"),
    )
    return Request(model_name="knowledge", findings=coded, setting=setting)


def _digest(id: str) -> str:
    return hashlib.sha256(id.encode()).hexdigest()


def main() -> None:
    data = Path(os.environ["TEST_DATA"])
    with tempfile.TemporaryDirectory() as folder:
        engine = KnowledgeEngine.open(Path(os.environ.get("CACHE", folder)))
    truth = Truth(engine, data)
    print(f"{'group':<22}{'n':>6}{'top-1':>8}{'now: ECE':>10}{'fitted':>8}{'ECE':>7}{'said':>7}")
    for group, (setting, names) in GROUPS.items():
        found = list(scored(engine, truth, data, setting, names))
        right = np.array([is_right for _, _, is_right in found])
        even = np.array([int(_digest(id)[-1], 16) % 2 == 0 for id, _, _ in found])
        said = np.array([[confidence(below, t) for t in GRID] for _, below, _ in found])
        losses = [log_loss(said[even, at], right[even]) for at in range(len(GRID))]
        best = int(np.argmin(losses))
        weights = engine._ranker.weights
        now = weights.temperature if "codes" in group else weights.temperature_text
        as_is = said[:, int(np.abs(GRID - now).argmin())]
        fitted = said[~even, best]
        print(
            f"{group:<22}{len(found):>6}{right.mean():>8.3f}"
            f"{calibration_error(as_is[~even], right[~even]):>10.3f}{GRID[best]:>8.1f}"
            f"{calibration_error(fitted, right[~even]):>7.3f}{fitted.mean():>7.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
