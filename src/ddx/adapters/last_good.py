"""When the last backup and the last drill went well: a small file in the data folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Literal

Feat = Literal["backup", "drill"]
_FILE = "last_good.json"


def note(data: Path, feat: Feat, at: datetime) -> None:
    """Remember it. A folder that is gone or full fails no backup that was made."""
    with suppress(OSError):
        beside = data / f"{_FILE}.new"
        told = {name: one.isoformat() for name, one in read(data).items()} | {feat: at.isoformat()}
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(told, file)
        beside.replace(data / _FILE)


def read(data: Path) -> Mapping[str, datetime]:
    """Return what went well and when; nothing where none did, or nobody can say."""
    try:
        told = json.loads((data / _FILE).read_text(encoding="utf-8"))
        return {name: datetime.fromisoformat(at) for name, at in told.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
