"""Small knowledge files in the form of the large ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

XREFS = [
    ("MONDO:0007947", "Marfan syndrome", "OMIM:154700"),
    ("MONDO:0007947", "Marfan syndrome", "ORPHA:558"),
    ("MONDO:0007947", "Marfan syndrome", "ICD10CM:Q87.4"),
    ("MONDO:0000001", "blue fever", "OMIM:1"),
]
SYNONYMS = [("MONDO:0007947", "Marfan syndrome", "MFS1|Marfan's syndrome")]
EDGES = [("MONDO:0007947", "MONDO:0019042")]
TEXTS = [{"id": "MONDO:0007947", "name": "Marfan syndrome", "ncit": "Long limbs and weak lenses."}]
SYMPTOMS = [("DOID:14323", "Marfan syndrome", "MONDO:0007947", "tall stature|long fingers")]


def write_rows(path: Path, rows: list[tuple[str, ...]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines("\t".join(row) + "\n" for row in rows)


def write_xrefs(folder: Path, rows: list[tuple[str, ...]] | None = None) -> None:
    write_rows(
        folder / "mondo_xref.tsv.gz",
        [("mondo_id", "label", "xref"), *(XREFS if rows is None else rows)],
    )


def write_texts(folder: Path, said: object = None) -> None:
    with gzip.open(folder / "disease_texts.jsonl.gz", "wt", encoding="utf-8") as file:
        for one in TEXTS if said is None else [said]:
            file.write(json.dumps(one) + "\n")


def write_all(folder: Path) -> Path:
    """Write all five tables into a folder; return it."""
    folder.mkdir(exist_ok=True)
    write_xrefs(folder)
    write_rows(folder / "mondo_rare_synonyms.tsv.gz", [("ID", "LABEL", "SYNONYMS"), *SYNONYMS])
    write_rows(folder / "mondo_rare_edges.tsv.gz", list(EDGES))
    write_rows(folder / "doid_has_symptom.tsv.gz", list(SYMPTOMS))
    write_texts(folder)
    return folder
