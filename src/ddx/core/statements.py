"""Questions to a patient as statements about one."""

from __future__ import annotations

import re

_STATEMENTS = (
    (r"Do you have any (family members|close family members) who (.+)", r"Has \1 who \2"),
    (r"Do you currently, or did you ever, have (.+)", r"Has or had \1"),
    (r"Did you previously, or do you currently, have (.+)", r"Has or had \1"),
    (r"Do you (?:(?:constantly|suddenly|currently) )?(?:have|feel|suffer from) (.+)", r"Has \1"),
    (r"Do you (.+)", r"They \1"),
    (r"Does the person have (.+)", r"Has \1"),
    (r"Have you (?:(?:recently|ever) )*(.+)", r"Has \1"),
    (r"Are you (.+)", r"Is \1"),
    (r"Did you (.+)", r"Did \1"),
    (r"Were you (.+)", r"Was \1"),
)
_SPEAKER = (
    (r"\byourself\b", "themselves"),
    (r"\byour\b", "their"),
    (r"\byou are\b", "they are"),
    (r"\byou\b", "they"),
)


def statement(question: str) -> str:
    """Turn a question to a patient into a statement about one.

    >>> statement("Have you had chills or shivers")
    'Has had chills or shivers'
    >>> statement("Is your skin much paler than usual")
    'Is their skin much paler than usual'
    """
    said = question
    for pattern, replacement in _STATEMENTS:
        said, count = re.subn(f"^{pattern}$", replacement, question)
        if count:
            break
    for pattern, replacement in _SPEAKER:
        said = re.sub(pattern, replacement, said)
    return said
