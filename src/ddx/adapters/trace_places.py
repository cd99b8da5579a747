"""How far each journal is traced, in a small file."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ddx.errors import JournalUnavailable

_NAME = "traces.json"


class TracePlacesFile:
    """TracePlaces in `ddx_data/traces.json`. Who holds the lease of delivery writes it."""

    def __init__(self, data: Path) -> None:
        self._path = data / _NAME
        self._cursors = self._read()

    def cursor(self, sink: str, journal_id: str) -> int:
        """Return how far a journal is traced."""
        return self._cursors.get(f"{sink} {journal_id}", 0)

    def move(self, sink: str, journal_id: str, cursor: int) -> None:
        """Keep how far. Not synced: what a power cut undoes is sent again, to the same ids.

        Raises JournalUnavailable.
        """
        self._cursors[f"{sink} {journal_id}"] = cursor
        draft = self._path.with_name(f".{_NAME}")
        try:
            with os.fdopen(
                os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w"
            ) as file:
                json.dump(self._cursors, file)
            draft.replace(self._path)
        except OSError as error:
            kind = type(error).__name__
            raise JournalUnavailable(f"the place of traces cannot be kept: {kind}") from error

    def _read(self) -> dict[str, int]:
        try:
            found = json.loads(self._path.read_text())
            return {str(name): int(cursor) for name, cursor in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}  # absent or damaged: everything is sent again, to the same ids
