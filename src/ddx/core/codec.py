"""A record to one line of JSON and back.

The line is canonical (sorted keys, no spaces), so equal records have equal digests. A line
names its version; `_UPGRADES` turns each old one into today's form, for ever.
"""

from __future__ import annotations

import hashlib
import json
import types
import typing
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from ddx.core import record
from ddx.core.record import Prediction, Request

VERSION = 1
_UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Version n -> a function from its form to that of n + 1."""

_OUTCOMES: dict[str, type] = {
    cls.kind: cls
    for cls in (
        record.Answered,
        record.Declined,
        record.Failed,
        record.Cancelled,
        record.Interrupted,
    )
}
T = TypeVar("T")


def encode(value: object) -> str:
    """Return one line of canonical JSON that `decode` reads back as an equal value.

    `value` is a dataclass of ours: a record, a part of one, a row.
    """
    return _dump({"v": VERSION, **_members(value)})


def encode_request(request: Request) -> str:
    """Return canonical JSON of a request: equal requests have equal bytes."""
    return _dump(_members(request))


def decode(line: str, form: type[T]) -> T:
    """Read a line of any version as `form`.

    Raises ValueError where the line is not one of ours.
    """
    raw = json.loads(line)
    version = raw.pop("v", None) if isinstance(raw, dict) else None
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise ValueError(f"a record of version {version!r} was written by a newer program")
    while version < VERSION:
        raw, version = _UPGRADES[version](raw), version + 1
    read: Callable[[Any], T] = _reader(typing.cast("Any", form))
    return read(raw)


def digest(line: str) -> str:
    """SHA-256 of a record's line, its random salt included, as 64 hex digits."""
    return hashlib.sha256(line.encode()).hexdigest()


def record_json(line: str) -> str:
    """Return the artifact record.json: the whole record with its digest, which is that of the
    second line as it stands there.
    """
    return f'{{"digest": "{digest(line)}", "record":\n{line}\n}}\n'


def read_record_json(text: str) -> tuple[Prediction, str]:
    """Return the record in an artifact record.json, and the digest that it claims."""
    whole = json.loads(text)
    return decode(_dump(whole["record"]), Prediction), whole["digest"]


def _dump(value: Any) -> str:
    return _encoder().encode(value)


def _plain(value: Any) -> dict[str, Any] | str:
    """What json.dumps does not know."""
    return value.isoformat() if isinstance(value, datetime) else _members(value)


def _members(value: Any) -> dict[str, Any]:
    """One level of a record: nulls and empty lists are left out."""
    plain = {
        name: found
        for name in _names(value.__class__)
        if (found := getattr(value, name)) is not None and found != ()
    }
    if kind := getattr(value, "kind", None):
        plain["kind"] = kind
    return plain


@cache
def _names(cls: type) -> tuple[str, ...]:
    return tuple(f.name for f in fields(cls))


@cache
def _encoder() -> json.JSONEncoder:
    return json.JSONEncoder(
        default=_plain, sort_keys=True, ensure_ascii=False, separators=(",", ":")
    )


@cache
def _reader(form: Any) -> Callable[[Any], Any]:
    """Return what makes a value of type `form` from what JSON gave; unknown keys are refused.

    Made once for each type: looking at type hints for each value takes most of the time.
    """
    origin = typing.get_origin(form)
    if origin in (typing.Union, types.UnionType):
        return _union_reader(typing.get_args(form))
    if origin is tuple:
        read_item = _reader(typing.get_args(form)[0])
        return lambda raw: tuple(map(read_item, raw))
    if isinstance(form, type) and is_dataclass(form):
        readers = {name: _reader(hint) for name, hint in typing.get_type_hints(form).items()}
        return lambda raw: form(
            **{name: readers[name](item) for name, item in raw.items() if name != "kind"}
        )
    if form is datetime:
        return datetime.fromisoformat
    if origin is dict or form is float or (isinstance(form, type) and issubclass(form, Enum)):
        return typing.cast("Callable[[Any], Any]", origin or form)
    return lambda raw: raw


def _union_reader(forms: tuple[Any, ...]) -> Callable[[Any], Any]:
    readers = [_reader(form) for form in forms if form is not types.NoneType]

    def read(raw: Any) -> Any:
        if raw is None:
            return None
        if isinstance(raw, dict) and "kind" in raw:
            return _reader(_OUTCOMES[raw["kind"]])(raw)
        (read_only,) = readers
        return read_only(raw)

    return read
