"""The columns of the ledger, and rows as Arrow tables. Loaded with pyarrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ddx.core.usage import FeedbackRow, UsageRow

_TYPES = {
    "str": pa.string(),
    "int": pa.int32(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "datetime": pa.timestamp("ms", tz="UTC"),
}


def _schema(row: type) -> pa.Schema:
    return pa.schema(
        [
            pa.field(
                one.name,
                pa.int64() if one.name == "seq" else _TYPES[str(one.type).removesuffix(" | None")],
                nullable=str(one.type).endswith(" | None"),
            )
            for one in fields(row)
        ]
    )


SCHEMAS = {"predictions": _schema(UsageRow), "feedback": _schema(FeedbackRow)}


def table(kind: str, rows: Sequence[UsageRow | FeedbackRow]) -> pa.Table:
    """Return rows as a table, oldest first."""
    listed = [asdict(row) for row in rows]
    made: Any = pa.Table.from_pylist(listed, schema=SCHEMAS[kind])
    return made.sort_by([("received_at", "ascending"), ("prediction_id", "ascending")])


def put(path: Path, rows: pa.Table) -> None:
    """Write a table. Raises OSError."""
    # The id is random for the greater part: a dictionary of it is larger than it is.
    repeated = [name for name in rows.schema.names if name not in ("prediction_id", "received_at")]
    pq.write_table(rows, path, compression="zstd", compression_level=9, use_dictionary=repeated)


def get(paths: Sequence[Path], kind: str) -> pa.Table:
    """Read files into one table, oldest row first. Raises OSError."""
    parts = [pq.read_table(path, schema=SCHEMAS[kind], partitioning=None) for path in paths]
    return pa.concat_tables(parts).sort_by(
        [("received_at", "ascending"), ("prediction_id", "ascending")]
    )
