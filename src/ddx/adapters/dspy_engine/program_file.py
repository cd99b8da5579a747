"""Files of compiled programs: read before anything of DSPy is loaded, written whole or not."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddx.core import compiled
from ddx.core.compiled import Compiled
from ddx.errors import BadProgram, OutputRefused

FIELDS = frozenset(
    {
        "case",
        "list_length",
        "candidates",
        "reasoning",
        "diagnoses",
        "conclusion",
        "further_questions",
        "missing_information",
        "sufficient",
    }
)
"""Fields of our signature, said here so that a file can be refused without loading DSPy; a test
holds them against it."""
MOST_BYTES = 8 * 2**20


def read(path: Path | None) -> Compiled:
    """Return what the file gives to a prompt; nothing where there is none. Raises BadProgram."""
    if path is None:
        return Compiled()
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadProgram(f"the program {path} cannot be read: {error.strerror}") from error
    if len(raw) > MOST_BYTES:
        raise BadProgram(f"the program {path} is refused: it has over {MOST_BYTES // 2**20} MiB")
    try:
        return compiled.read(raw, FIELDS)
    except BadProgram as error:
        raise BadProgram(f"the program {path} is refused: {error}") from error


def write(path: Path, state: Mapping[str, Any]) -> Compiled:
    """Write a program's state into a new file that its owner alone may read; return it as read.

    Its examples are cases of patients. Raises OutputRefused.
    """
    if path.exists():
        raise OutputRefused(f"{path} is there already")
    draft = path.with_name(f".{path.name}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(state, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise OutputRefused(f"{path} cannot be written: {error.strerror}") from error
    return read(path)
