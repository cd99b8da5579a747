"""The ledger as Parquet: a row for each prediction in a folder for each day, and no patient text.

`files` says which files there are, `writer` adds to them, `reader` computes figures over them.
pyarrow and DuckDB are loaded when they are needed.
"""

from ddx.adapters.parquet_ledger.reader import LedgerReader
from ddx.adapters.parquet_ledger.writer import ParquetLedger

__all__ = ["LedgerReader", "ParquetLedger"]
