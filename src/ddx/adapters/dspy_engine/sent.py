"""What a request's body says: read from the bytes that left, not from what was configured.

Three dialects are known: OpenAI's chat completions, Anthropic's messages, Gemini's
generateContent. Pure functions, total: another dialect is shown as its JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from ddx.core.record import LlmSettings

Scalar = str | int | float | bool | None

SPELLINGS = {
    "temperature": ("temperature",),
    "max_tokens": ("max_tokens", "max_completion_tokens", "maxOutputTokens", "max_output_tokens"),
    "top_k": ("top_k", "topK"),
    "response_format": (
        "response_format",
        "output_format",
        "output_config",
        "responseSchema",
        "responseJsonSchema",
        "responseMimeType",
    ),
}
"""How providers spell the parameters that we send."""

_TEXT_FIELDS = {"model", "messages", "system", "contents", "systemInstruction"}
_REFUSING = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed|"
    r"extra inputs|not available|cannot find field",
    re.IGNORECASE,
)


def parameters(body: bytes) -> dict[str, Scalar]:
    """Return the parameters of a request as the provider spells them; schemas by their kind.

    >>> parameters(b'{"model": "m", "messages": [], "temperature": 0.5, "top_k": 5}')
    {'temperature': 0.5, 'top_k': 5}
    """
    data = _object(body)
    flat = {**data, **_dict(data.pop("generationConfig", None))}
    found: dict[str, Scalar] = {}
    for key, value in flat.items():
        if key in SPELLINGS["response_format"]:
            found[key] = value if isinstance(value, str) else _kind(value)
        elif key not in _TEXT_FIELDS and isinstance(value, str | int | float | bool):
            found[key] = value
    return found


def settings(llm: str | None, sent: dict[str, Scalar], prompt_index: int) -> LlmSettings:
    """Return the settings that were really sent."""
    temperature = _number(sent, "temperature")
    max_tokens = _number(sent, "max_tokens")
    top_k = _number(sent, "top_k")
    return LlmSettings(
        model=llm,
        temperature=temperature,
        max_tokens=None if max_tokens is None else int(max_tokens),
        top_k=None if top_k is None else int(top_k),
        prompt_index=prompt_index,
    )


def dropped(asked: Iterable[str], sent: dict[str, Scalar]) -> tuple[str, ...]:
    """Return which of the parameters that were asked for did not leave."""
    return tuple(name for name in asked if not any(key in sent for key in SPELLINGS[name]))


def refused(reply: bytes, candidates: Iterable[str]) -> str | None:
    r"""Return which parameter an error reply says that the model does not take, if one.

    An error about a parameter's value is not that: then None.

    >>> refused(b'{"error": {"message": "Unsupported parameter: top_k"}}', ["top_k"])
    'top_k'
    """
    error = _object(reply).get("error")
    fields = _dict(error)
    message = str(fields.get("message") or reply.decode(errors="replace"))
    named = str(fields.get("param") or "")
    if not _REFUSING.search(f"{fields.get('code') or ''} {message}".replace("_", " ")):
        return None
    for name in candidates:
        for spelling in SPELLINGS[name]:
            if named == spelling or named.startswith(f"{spelling}."):
                return name
            if not named and re.search(rf"(?<![\w-]){spelling}(?![\w-])", message):
                return name
    return None


def rendered(body: bytes) -> str:
    """Return the messages of a request as readable text.

    A header gives each message's role and length, so that no text can pass for a header.

    >>> print(rendered(b'{"messages": [{"role": "user", "content": "Hello"}]}'))
    --- user --- 1 of 1, 5 characters
    Hello
    """
    messages = _messages(body)
    return "\n\n".join(
        f"--- {role} --- {place} of {len(messages)}, {len(text)} characters\n{text}"
        for place, (role, text) in enumerate(messages, start=1)
    )


# --- dialects ---------------------------------------------------------------------------


def _messages(body: bytes) -> list[tuple[str, str]]:
    data = _object(body)
    system = data.get("system") or data.get("systemInstruction")
    turns = data.get("messages") or data.get("contents")
    if not isinstance(turns, list):
        return [("unknown", body.decode(errors="replace"))]
    messages = [("system", _text(system))] if system else []
    for turn in turns:
        fields = _dict(turn)
        content = fields.get("content", fields.get("parts"))
        messages.append((str(fields.get("role") or "user"), _text(content)))
    return messages


def _text(content: Any) -> str:
    """Return the text of a message's content, in any of its forms."""
    if isinstance(content, str):
        return content
    parts = content.get("parts", [content]) if isinstance(content, dict) else content
    if not isinstance(parts, list):
        return ""
    return "\n".join(
        str(part["text"]) if isinstance(part, dict) and "text" in part else json.dumps(part)
        for part in parts
    )


def _kind(schema: Any) -> str:
    inner = _dict(_dict(schema).get("format")) or _dict(schema)
    kind = inner.get("type")
    return kind if isinstance(kind, str) and kind != "object" else "json_schema"


def _number(sent: dict[str, Scalar], name: str) -> float | None:
    values = (sent.get(key) for key in SPELLINGS[name])
    return next((v for v in values if isinstance(v, int | float)), None)


def _object(text: bytes) -> dict[str, Any]:
    try:
        return _dict(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
