"""How calibrated the knowledge engine is, and the constants of calibration.py fitted anew.

For each setting, and for codes and prose apart: temperature and `described` that give the first
place the least log loss (was it the truth?), over every case with enough findings, those whose
disease the engine does not know included. Of coded cases only those whose own paper is no source
of the disease's annotations. Fitted on one half of the cases, by the digest of their ids, and
tried on the other: expected calibration error in ten bins of equal size. Chance alone makes about
0.05 of it with 400 cases. Last, what it would cost to decline where the best is unconvincing.

    TEST_DATA=/path/to/data python -m bench.calibration [--added]

With --added, what is in the folder's `knowledge` is added first, as `ddx knowledge add` does.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddx.adapters.knowledge import KnowledgeEngine
from ddx.adapters.knowledge.answer import is_enough
from ddx.adapters.knowledge.external.store import KnowledgeStore
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
TEMPERATURES = np.arange(0.2, 2.01, 0.1)
DESCRIBED = np.arange(0.3, 1.01, 0.05)
LEAST = (0.01, 0.02, 0.03, 0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One case with enough findings, ranked."""

    even: bool
    findings: int
    below: Any
    """Scores, less the best."""
    said: float
    """Probability of the first place, as the engine says it."""
    right: bool
    """The first place is the truth."""
    listed: bool
    """The truth is among the first ten."""


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
) -> Iterator[Scored]:
    for name in names:
        for case in cases_of(data, name):
            request = _request(case, setting)
            read = engine._read(request)
            if not is_enough(engine._index, read):
                continue
            ranking = engine._ranked(read, request)
            order = ranking.order.tolist()
            below = ranking.scores - ranking.scores[order[0]]
            true = truth.rows(case)
            yield Scored(
                even=int(_digest(case["id"])[-1], 16) % 2 == 0,
                findings=len({finding.term for finding in read.present}),
                below=below[below > -60],
                said=float(ranking.probabilities[order[0]]),
                right=order[0] in true,
                listed=not true.isdisjoint(order[:10]),
            )


def share(one: Scored, temperature: float) -> float:
    """What the first place has of all, before `described`."""
    return float(1.0 / np.exp(one.below / (temperature * np.sqrt(one.findings))).sum())


def fit(cases: Sequence[Scored]) -> tuple[float, float]:
    right = np.array([one.right for one in cases])
    losses = {}
    for temperature in TEMPERATURES.tolist():
        shares = np.array([share(one, temperature) for one in cases])
        for described in DESCRIBED.tolist():
            losses[log_loss(shares * described, right)] = temperature, described
    return losses[min(losses)]


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
        shelf = None
        if "--added" in sys.argv:
            store = KnowledgeStore(Path(folder) / "added")
            shelf = store.add(data / "knowledge")
        engine = KnowledgeEngine.open(Path(os.environ.get("CACHE", folder)), shelf)
    truth = Truth(engine, data)
    for group, (setting, names) in GROUPS.items():
        found = list(scored(engine, truth, data, setting, names))
        said, right = np.array([one.said for one in found]), np.array([one.right for one in found])
        print(f"{group}: {len(found)} cases, first place right in {right.mean():.1%}")
        print(f"  as it stands: said {said.mean():.1%}, error {calibration_error(said, right):.3f}")
        temperature, described = fit(found)
        print(f"  fitted on all: temperature {temperature:.1f}, described {described:.2f}")
        temperature, described = fit([one for one in found if one.even])
        rest = [one for one in found if not one.even]
        fitted = np.array([described * share(one, temperature) for one in rest])
        true = np.array([one.right for one in rest])
        print(
            f"  fitted on half: temperature {temperature:.1f}, described {described:.2f}; on the "
            f"other half: said {fitted.mean():.1%}, error {calibration_error(fitted, true):.3f}"
        )
        for least in LEAST:
            below = [one for one in found if one.said < least]
            lost, first = sum(one.listed for one in below), sum(one.right for one in below)
            print(f"  best below {least:.0%}: {len(below)}, {first} right, {lost} in the first ten")
        print(flush=True)


if __name__ == "__main__":
    main()
