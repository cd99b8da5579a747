"""The arithmetic of a likelihood ratio once more, plainly, from the files themselves.

Only one thing is taken from the engine: which sources' entries it holds to be one disease.
"""

from __future__ import annotations

import csv
import math
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

CLASSES = {
    "HP:0040280": 1.0,
    "HP:0040281": 0.895,
    "HP:0040282": 0.545,
    "HP:0040283": 0.17,
    "HP:0040284": 0.025,
    "HP:0040285": 0.0,
}
SHARES = {
    "obligate": 1.0,
    "very_frequent": 0.895,
    "frequent": 0.545,
    "occasional": 0.17,
    "very_rare": 0.025,
    "excluded": 0.0,
}
RATES = ["very_rare", "rare", "uncommon", "common", "very_common"]
NOT_COMMON, CLASS_STEP, RAREST = -4.0, 0.5, 0.003
MISS, DENIED, ABSENT, ABSENT_RARE, STEP, FLOOR = -1.0, -3.0, 0.2, 0.05, 0.2, 0.1


class ByHand:
    """What the files say of each disease, a disease being a set of their ids."""

    def __init__(self, obo: Path, hpoa: Path, pack: Path, diseases: list[set[str]]) -> None:
        self._parents: dict[str, set[str]] = defaultdict(set)
        self._moved: dict[str, str] = {}
        self._read_obo(obo)
        said = self._read_hpoa(hpoa)
        self._rates: dict[str, dict[str, str]] = {}
        said |= self._read_pack(pack)
        self._diseases = diseases
        self._shares = [self._joined(said[id] for id in ids if id in said) for ids in diseases]
        self._who: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for disease, shares in enumerate(self._shares):
            for term, share in shares.items():
                self._who[term].append((disease, share))

    def present(self, ids: set[str], term: str, setting: str) -> float:
        """Likelihood ratio of a finding that is there."""
        disease = self._diseases.index(ids)
        above = self._above(term)
        if not self._share(disease, term) and any(
            self._shares[disease].get(one) == 0.0 for one in above
        ):
            return math.exp(DENIED)
        best = MISS
        for one, steps in above.items():
            share = self._share(disease, one)
            if share:
                part = max(FLOOR, 1 - STEP * steps)
                best = max(best, part * math.log(share / self._background(one, setting)))
        return math.exp(best)

    def absent(self, ids: set[str], term: str, setting: str) -> float:
        """Likelihood ratio of a finding that was looked for and is not there."""
        share = min(0.95, self._share(self._diseases.index(ids), term))
        usual = min(0.95, self._background(term, setting))
        weight = ABSENT_RARE if setting == "genetics" else ABSENT
        return float(((1 - share) / (1 - usual)) ** weight)

    def _share(self, disease: int, term: str) -> float:
        said = self._shares[disease]
        return max((share for one, share in said.items() if term in self._above(one)), default=0.0)

    @cache  # noqa: B019
    def _background(self, term: str, setting: str) -> float:
        shares = [0.0] * len(self._diseases)
        for one, who in self._who.items():
            if term in self._above(one):
                for disease, share in who:
                    shares[disease] = max(share, shares[disease])
        if setting == "genetics":
            return (sum(shares) + 0.5) / (len(shares) + 1)
        weights = [self._rate(ids, setting) for ids in self._diseases]
        usual = sum(w * s for w, s in zip(weights, shares, strict=True)) / sum(weights)
        return max(RAREST, usual)

    def _rate(self, ids: set[str], setting: str) -> float:
        for id in ids & self._rates.keys():
            return math.exp(CLASS_STEP * (RATES.index(self._rates[id][setting]) - 4))
        return math.exp(NOT_COMMON)

    @cache  # noqa: B019
    def _above(self, term: str) -> dict[str, int]:
        """What lies above a term, itself included, and the fewest steps to it."""
        found: dict[str, int] = {}
        level, steps = {term}, 0
        while level:
            found |= dict.fromkeys(level - found.keys(), steps)
            level = {up for one in level for up in self._parents[one]} - found.keys()
            steps += 1
        return found

    def _joined(self, sources: Iterable[dict[str, float]]) -> dict[str, float]:
        highest: dict[str, float] = {}
        for source in sources:
            for term, share in source.items():
                highest[term] = max(share, highest.get(term, 0.0))
        return highest

    def _read_obo(self, path: Path) -> None:
        for stanza in path.read_text(encoding="utf-8").split("\n\n"):
            lines = stanza.splitlines()
            if not lines or lines[0] != "[Term]":
                continue
            tags = [line.split(": ", 1) for line in lines[1:]]
            (id,) = [value for name, value in tags if name == "id"]
            if any(name == "is_obsolete" for name, _ in tags):
                self._moved.update((id, value) for name, value in tags if name == "replaced_by")
                continue
            self._moved |= {value: id for name, value in tags if name == "alt_id"}
            self._parents[id] = {value[:10] for name, value in tags if name == "is_a"}

    def _read_hpoa(self, path: Path) -> dict[str, dict[str, float]]:
        rows: dict[str, dict[str, list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
        with path.open(encoding="utf-8") as lines:
            table = (line for line in lines if not line.startswith("#"))
            for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
                if row["aspect"] == "P":
                    term = self._moved.get(row["hpo_id"], row["hpo_id"])
                    rows[row["database_id"]][term].append((row["qualifier"], row["frequency"]))
        return {id: {t: _share_of(said) for t, said in of.items()} for id, of in rows.items()}

    def _read_pack(self, folder: Path) -> dict[str, dict[str, float]]:
        found = {}
        for path in folder.glob("*.toml"):
            file = tomllib.loads(path.read_text(encoding="utf-8"))
            for term in file.get("term", []):
                self._parents[term["id"]] = (
                    {term["parent"].split()[0]} if "parent" in term else set()
                )
            for one in file.get("condition", []):
                self._rates[f"DDX:{one['name']}"] = one["base_rate"]
                found[f"DDX:{one['name']}"] = {
                    term.split()[0]: SHARES[name]
                    for name, terms in one["findings"].items()
                    for term in terms
                }
        return found


def _share_of(said: list[tuple[str, str]]) -> float:
    """Share of patients, of all that one source says of one finding; 0.0: it denies it.

    Counts are added up, with half a patient who has it and half a patient who has not.
    """
    never = ("0%", "HP:0040285")
    kept = [f for no, f in said if no != "NOT" and f not in never and not f.startswith("0/")]
    if not kept:
        return 0.0
    counts = [[int(n) for n in f.split("/")] for _, f in said if "/" in f and f[-2:] != "/0"]
    if counts:
        with_it = sum(min(one, all_) for one, all_ in counts)
        return (with_it + 0.5) / (sum(all_ for _, all_ in counts) + 1)
    shares = [float(f[:-1]) / 100 if f.endswith("%") else CLASSES[f] for f in kept if f]
    return max(shares, default=0.5)
