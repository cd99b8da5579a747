"""Destroys the key of a record, from any process: the journal's writer need not stop."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from ddx.adapters.sqlite_journal.keys import KeyFile
from ddx.adapters.sqlite_journal.reader import SqliteJournalReader
from ddx.adapters.sqlite_journal.store import Paths, translated
from ddx.core.record import PredictionId
from ddx.ports import Vault


def destroy_key(data: Path, instance: str, id: PredictionId, vault: Vault | None = None) -> None:
    """Overwrite the key of a finished prediction, durably. Repeatable.

    A slot is written whole and read whole, and a finished record's key is written by nobody else.
    Raises JournalUnavailable, JournalDamaged.
    """
    with closing(SqliteJournalReader(data, instance)) as reader:
        key_id = reader.key_id(id)
    try:
        with closing(KeyFile(Paths(data, instance).keys, writable=True, vault=vault)) as keys:
            keys.destroy(key_id)
    except OSError as error:
        raise translated(error) from error
