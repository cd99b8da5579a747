"""The durable journal: append-only events in SQLite, encrypted, chained, one writer.

docs/journal-format.md describes the bytes.
"""

from ddx.adapters.sqlite_journal.erasing import destroy_key
from ddx.adapters.sqlite_journal.increment import append_later, copy_later, tail
from ddx.adapters.sqlite_journal.reader import SqliteJournalReader, find_journals
from ddx.adapters.sqlite_journal.writer import SqliteJournal

__all__ = [
    "SqliteJournal",
    "SqliteJournalReader",
    "append_later",
    "copy_later",
    "destroy_key",
    "find_journals",
    "tail",
]
