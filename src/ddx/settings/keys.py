"""Keys of providers: from the environment, a file, or the system's keyring. Never printed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ddx.core.registry import Model


def api_key(model: Model, environment: Mapping[str, str], home: Path) -> str | None:
    """Return a model's key from the first place that has one, None where none has.

    The file is read each time: a key that is changed there is used at the next start of the
    model's engine, and none stays in the settings.
    """
    return (
        environment.get(model.api_key_env or "")
        or _from_file(model.api_key_file, home)
        or _from_keyring(model.api_key_keyring)
        or None
    )


def _from_file(name: str | None, home: Path) -> str | None:
    if not name:
        return None
    try:
        return (home / name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _from_keyring(place: str | None) -> str | None:
    if not place:
        return None
    try:
        import keyring
        from keyring.errors import KeyringError
    except ModuleNotFoundError:
        return None
    service, _, user = place.partition("/")
    found: str | None = None
    with suppress(KeyringError):
        found = keyring.get_password(service, user)
    return found
