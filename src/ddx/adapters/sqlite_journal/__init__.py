"""The durable journal: append-only events in SQLite, encrypted, chained, one writer.

docs/journal-format.md describes the bytes.
"""

from ddx.adapters.sqlite_journal.erasing import destroy_key
from ddx.adapters.sqlite_journal.increment import append_later, copy_later, tail
from ddx.adapters.sqlite_journal.keys import KeyFile, rewrap, shared_secret
from ddx.adapters.sqlite_journal.reader import OldClaims, SqliteJournalReader, find_journals
from ddx.adapters.sqlite_journal.store import Paths
from ddx.adapters.sqlite_journal.writer import SqliteJournal, take_lock, writer_of

__all__ = [
    "KeyFile",
    "OldClaims",
    "Paths",
    "SqliteJournal",
    "SqliteJournalReader",
    "append_later",
    "copy_later",
    "destroy_key",
    "find_journals",
    "rewrap",
    "shared_secret",
    "tail",
    "take_lock",
    "writer_of",
]
