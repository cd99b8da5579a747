"""The durable journal: append-only events in SQLite, encrypted, chained, one writer.

docs/journal-format.md describes the bytes.
"""

from ddx.adapters.sqlite_journal.erasing import destroy_key
from ddx.adapters.sqlite_journal.keys import KeyFile, rewrap, shared_secret
from ddx.adapters.sqlite_journal.reader import (
    OldClaims,
    SqliteJournalReader,
    find_journals,
    last_seq_in,
)
from ddx.adapters.sqlite_journal.store import Paths
from ddx.adapters.sqlite_journal.writer import SqliteJournal, take_lock, writer_of

__all__ = [
    "KeyFile",
    "OldClaims",
    "Paths",
    "SqliteJournal",
    "SqliteJournalReader",
    "destroy_key",
    "find_journals",
    "last_seq_in",
    "rewrap",
    "shared_secret",
    "take_lock",
    "writer_of",
]
