"""A case set as JSON lines, which `read` reads back equal."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ddx.core.caseset import Case
from ddx.errors import OutputRefused

PRIVATE = 0o600


def write(path: Path, cases: Iterable[Case]) -> int:
    """Write cases into a new file that its owner alone may read; return how many.

    Raises OutputRefused where the file is there already, or cannot be written: then nothing
    is left behind.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    except FileExistsError:
        raise OutputRefused(f"{path} is there already") from None
    except OSError as error:
        raise OutputRefused(f"{path} cannot be made: {error.strerror}") from error
    count = 0
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            for case in cases:
                file.write(json.dumps(_line(case), ensure_ascii=False) + "\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OutputRefused(f"{path} cannot be written: {error.strerror}") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return count


def _line(case: Case) -> dict[str, Any]:
    coded = case.findings
    fields = {
        "id": case.id,
        "case_text": case.text,
        "present": list(coded.present) if coded else [],
        "absent": list(coded.absent) if coded else [],
        "sex": coded.sex if coded else None,
        "age": coded.age if coded else None,
        "truth": {"name": case.truth.name, "ids": list(case.truth.ids)},
        **case.flags,
    }
    return {name: value for name, value in fields.items() if value not in (None, "", [])}
