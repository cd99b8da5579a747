"""What masks cases, from settings."""

from __future__ import annotations

from ddx.core.masking import Mask
from ddx.settings import Settings


def masker(settings: Settings) -> Mask | None:
    """Return what masks cases; None where `privacy` is off.

    Raises MissingExtra and SettingsError: a server that cannot mask must not take a case.
    """
    if settings.privacy == "off":
        return None
    from ddx.adapters.privacy import PatternMasker

    return PatternMasker([one.strip().upper() for one in settings.privacy_regions.split(",")])
