"""The folder of a sweep: what is asked, a folder for each cell, the figures as tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ddx.errors import BadResults

NAME = "sweep.json"
_FORMAT = "ddx-sweep/1"


def write_sweep(folder: Path, values: Mapping[str, Any]) -> None:
    """Write what a sweep asks, so that it can be gone on with; a reader sees all or nothing."""
    draft = folder / f"{NAME}.part"
    text = json.dumps({"format": _FORMAT, **values}, ensure_ascii=False, indent=1)
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(folder / NAME)


def read_sweep(folder: Path) -> dict[str, Any]:
    """Return what `write_sweep` was given. Raises BadResults."""
    try:
        values = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadResults(f"{folder} is no folder of a sweep: it has no {NAME}") from None
    except (OSError, ValueError) as error:
        raise BadResults(f"{folder / NAME} cannot be read: {type(error).__name__}") from error
    if not isinstance(values, dict) or values.pop("format", None) != _FORMAT:
        raise BadResults(f"{folder / NAME} is no {_FORMAT} file")
    return values


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the cells as CSV, a line each."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
