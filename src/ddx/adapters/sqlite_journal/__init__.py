"""The durable journal: append-only events in SQLite, encrypted, chained, one writer.

docs/journal-format.md describes the bytes.
"""

from ddx.adapters.sqlite_journal.erasing import destroy_key
from ddx.adapters.sqlite_journal.keys import shared_secret
from ddx.adapters.sqlite_journal.reader import (
    OldClaims,
    SqliteJournalReader,
    find_journals,
    last_seq_in,
)
from ddx.adapters.sqlite_journal.writer import SqliteJournal, writer_of

__all__ = [
    "OldClaims",
    "SqliteJournal",
    "SqliteJournalReader",
    "destroy_key",
    "find_journals",
    "last_seq_in",
    "shared_secret",
    "writer_of",
]
