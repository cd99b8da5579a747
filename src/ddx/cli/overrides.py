"""Settings that a command's own options override."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ddx.errors import SettingsError
from ddx.settings import Settings

_REFUSED_BY_BROWSERS = 6000


def with_address(settings: Settings, **options: Any) -> Settings:
    """Return the settings with the options that were given (None: not given)."""
    given = {name: value for name, value in options.items() if value is not None}
    if _REFUSED_BY_BROWSERS in given.values():
        raise SettingsError(f"port {_REFUSED_BY_BROWSERS} does not work: browsers refuse it")
    origins = {**settings.origins, **dict.fromkeys(given, "command line")}
    return replace(settings, **given, origins=origins)
