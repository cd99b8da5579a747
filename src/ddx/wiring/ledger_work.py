"""What a worker process does for the ledger: it reads pages of this machine's journals."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from ddx.adapters import logs
from ddx.adapters.sqlite_journal import SqliteJournalReader
from ddx.core import codec
from ddx.core.pieces import lines_of, piece, refusal
from ddx.errors import DdxError
from ddx.services.ledger import page


def paged(setup: bytes, lines: bytes) -> bytes:
    """Return a Page for each line, which names a journal and where to begin.

    `setup` is the data folder. Raises nothing: see `wiring.work`.
    """
    logs.set_up("error")
    try:
        found = []
        for line in lines_of(lines):
            asked = json.loads(line)
            with closing(SqliteJournalReader(Path(setup.decode()), asked["instance"])) as journal:
                found.append(codec.encode(page(journal, asked["after"])))
        return piece(found)
    except DdxError as error:
        return refusal(str(error))
    except Exception as error:
        # Its text may quote a case.
        return refusal(f"a worker failed with {type(error).__name__}")
