"""PhEval's standardised results: a table for each case, which its benchmark reads.

Columns `rank`, `score`, `disease_name`, `disease_identifier`; the file is named after the case,
as PhEval names it after the phenopacket.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from ddx.core.evaluation import Row
from ddx.core.grading import Listed, normal_id

FOLDER = "pheval_disease_results"
_SUFFIX = "-pheval_disease_result.tsv"
_HEAD = ("rank", "score", "disease_name", "disease_identifier")
_ORDER = ("OMIM", "MONDO", "ORPHA")
"""PhEval recommends OMIM's namespace."""


def write_pheval(folder: Path, rows: Sequence[Row]) -> None:
    """Write the first attempts. A case without an answer has a file with a head alone."""
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    for row in rows:
        if row.attempt == 1:
            with (target / file_name(row.case_id)).open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, delimiter="\t", lineterminator="\n")
                table.writerow(_HEAD)
                for rank, found in enumerate(row.listed, start=1):
                    table.writerow((rank, score(found, rank), found.name, identifier(found)))


def file_name(case_id: str) -> str:
    """Return the file of a case.

    >>> file_name("reese:PMID_1/a b")
    'reese_PMID_1_a_b-pheval_disease_result.tsv'
    """
    return re.sub(r"[^\w.-]", "_", case_id) + _SUFFIX


def score(found: Listed, rank: int) -> float:
    """Return the probability, or the reciprocal rank where the engine states none."""
    return found.probability if found.probability is not None else round(1 / rank, 6)


def identifier(found: Listed) -> str:
    """Return the id to match by, empty where the diagnosis has none.

    >>> identifier(Listed(name="x", ids=("ORPHA:558", "OMIM:154700"))), identifier(Listed(name="x"))
    ('OMIM:154700', '')
    """
    by_system = {normal_id(id).partition(":")[0]: normal_id(id) for id in reversed(found.ids)}
    known = [by_system[system] for system in _ORDER if system in by_system]
    return next(iter(known or list(by_system.values())), "")
