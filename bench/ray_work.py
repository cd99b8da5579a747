"""`ddx evaluate` in one process beside `--engine ray` on this machine's processors, same cases.

The start of the cluster and of its workers is told apart. "asked" ends with the last answer;
"whole" has the figures, intervals, plots and files too, which one process makes either way.

    python -m bench.ray_work --cases phenopackets.jsonl [--limit 5000] [--rounds 1]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from ddx.core.caseset import CaseSet
from ddx.core.pieces import answers
from ddx.settings import load
from ddx.wiring import elsewhere, evaluating
from ddx.wiring.cluster import PROCESS, RAY, Cluster
from ddx.wiring.serving import Engines


@dataclass(frozen=True)
class Took:
    """Seconds of one evaluation."""

    asked: float
    whole: float


def evaluation(
    options: evaluating.Options, cases: CaseSet, engines: Engines, cluster: Cluster, name: str
) -> tuple[Took, list[object]]:
    """Return what it took, and the answers without their times."""
    settings = load()
    began, last = time.monotonic(), 0.0

    def progress(_done: int, _total: int) -> None:
        nonlocal last
        last = time.monotonic() - began

    options = replace(options, engine=name)
    grader = evaluating.grader_of(settings, None, engines)
    found = evaluating.on_cases(settings, options, cases, engines, grader, progress, cluster)
    whole = time.monotonic() - began
    return Took(last, whole), [replace(row, duration_s=0.0) for row in found.rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("DDX_HOME", folder)
        settings = load()
        engines = Engines(settings)
        engines.terminology().codes("Dengue fever")
        options = evaluating.Options(
            cases=arguments.cases, model="knowledge", limit=arguments.limit, mlflow=False
        )
        cases = evaluating.read_cases(options)
        with Cluster(settings, address="") as cluster:
            began = time.monotonic()
            cluster.connected()
            started = time.monotonic() - began
            _, workers = elsewhere.engine(settings, cluster, engines, "knowledge")
            for came in [workers.submit(b"") for _ in range(workers.slots)]:
                answers(came.result(), 0)
            warm = time.monotonic() - began - started
            print(
                f"Ray: started in {started:.1f} s, {workers.slots} workers ready {warm:.1f} s later"
            )
            ratios: list[tuple[float, float]] = []
            for number in range(arguments.rounds):
                took, rows = {}, {}
                for name in (PROCESS, RAY):
                    one = replace(options, out=Path(folder) / f"{number}-{name}")
                    took[name], rows[name] = evaluation(one, cases, engines, cluster, name)
                    print(
                        f"{name}: {len(cases.cases)} cases asked in {took[name].asked:.1f} s,"
                        f" whole {took[name].whole:.1f} s, load {os.getloadavg()[0]:.1f}",
                        flush=True,
                    )
                if rows[PROCESS] != rows[RAY]:
                    sys.exit("error: the answers differ")
                alone, spread = took[PROCESS], took[RAY]
                ratios.append((alone.asked / spread.asked, alone.whole / spread.whole))
        asked, whole = (statistics.median(one) for one in zip(*ratios, strict=True))
    print(json.dumps({"asked_ratio": round(asked, 2), "whole_ratio": round(whole, 2)}))


if __name__ == "__main__":
    main()
