"""A run that was taken out of MLflow's tables and kept in an archive, as one line of it.

What leads to a patient is sealed under the record's own key: whoever erases the record erases it
here too, wherever copies of the archive are.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddx.core.record import PredictionId

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRows:
    """One run as it stands in MLflow, whichever door reads it."""

    prediction_id: PredictionId
    run_id: str
    artifact_uri: str
    """Where its files are, and stay."""
    status: str
    start_ms: int
    end_ms: int | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    raw: str
    """All of it as JSON, for the door that puts it back."""

    @property
    def digest(self) -> str:
        """Of all that would be lost with it."""
        return digest_of(self.raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelved:
    """What is known of an archived run without opening it."""

    prediction_id: PredictionId
    run_id: str
    artifact_uri: str
    file: str
    """Of the archive, relative to it."""
    said: int
    """How often somebody had said something of it: what is said later brings it back."""
    figures: Mapping[str, float]
    """For sums, without a word of the patient's."""


def digest_of(raw: str) -> str:
    """Return the SHA-256 of a run's rows."""
    return hashlib.sha256(raw.encode()).hexdigest()


FIGURES = ("success", "input_tokens", "output_tokens", "cost_usd")


def line(rows: RunRows, sealed: bytes) -> str:
    """Return a run's line in a file of the archive."""
    return json.dumps(
        {
            "v": VERSION,
            "prediction_id": rows.prediction_id,
            "run_id": rows.run_id,
            "artifact_uri": rows.artifact_uri,
            "digest": rows.digest,
            "sealed": base64.b64encode(sealed).decode(),
        },
        sort_keys=True,
    )


def sealed_of(lines: Sequence[str]) -> dict[PredictionId, tuple[str, bytes]]:
    """Return prediction -> (digest of the rows, sealed rows). Raises ValueError."""
    found = {}
    for text in lines:
        entry: dict[str, Any] = json.loads(text)
        if entry.get("v") != VERSION:
            raise ValueError(f"a line of version {entry.get('v')!r}")
        id = PredictionId(entry["prediction_id"])
        found[id] = (str(entry["digest"]), base64.b64decode(entry["sealed"]))
    return found


def file_name(lines: Sequence[str], first: PredictionId) -> str:
    """Return a name that no other content has: a file of the archive never changes."""
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return f"{first}-{digest[:16]}.jsonl"


def shelved(rows: RunRows, file: str, said: int) -> Shelved:
    """Return what the index keeps of a run."""
    return Shelved(
        prediction_id=rows.prediction_id,
        run_id=rows.run_id,
        artifact_uri=rows.artifact_uri,
        file=file,
        said=said,
        figures={name: rows.metrics[name] for name in FIGURES if name in rows.metrics},
    )
