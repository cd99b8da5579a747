"""What a reply's body says, verbatim.

lm15 hands structured answers over as parsed values: what the model really wrote is in the bytes
only. Three dialects are known, as in `sent`. Pure, total.
"""

from __future__ import annotations

import json
from typing import Any


def text(reply: bytes) -> str | None:
    """Return what the model wrote, without its thoughts; None where no place for it is found.

    >>> text(b'{"choices": [{"message": {"content": "Dengue,  likely"}}]}')
    'Dengue,  likely'
    """
    try:
        data = json.loads(reply)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    for content in (
        _first(data.get("choices"), "message"),  # OpenAI
        _first(data.get("candidates"), "content"),  # Gemini
        data if isinstance(data.get("content"), list) else None,  # Anthropic
    ):
        if isinstance(content, dict):
            said = content.get("content", content.get("parts"))
            return _joined(said) or _joined(content.get("refusal"))
    return None


def _first(items: Any, key: str) -> Any:
    first = items[0] if isinstance(items, list) and items else None
    return first.get(key) if isinstance(first, dict) else None


def _joined(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (
        part.get("text") or part.get("refusal")
        for part in parts
        if isinstance(part, dict) and not part.get("thought")
    )
    return "".join(said for said in texts if isinstance(said, str))
