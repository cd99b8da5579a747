"""When this installation's last backup was made, and the last one proved to restore."""

from __future__ import annotations

from contextlib import suppress

from ddx.adapters import last_good
from ddx.adapters.system import SystemClock
from ddx.errors import SettingsError
from ddx.settings import Settings, load


def note_drill() -> None:
    """Remember a good drill in this installation, where there is one: a drill may run anywhere."""
    with suppress(SettingsError):
        data = load().data
        if data.is_dir():
            last_good.note(data, "drill", SystemClock().now())


def gauges(settings: Settings) -> dict[str, tuple[str, float]]:
    """Return both moments as gauges of /metrics."""
    good = last_good.read(settings.data)
    about = {
        "backup": "When `ddx backup` last made one, since 1970; 0: never.",
        "drill": "When `ddx restore --drill` last proved one, since 1970; 0: never.",
    }
    return {
        f"ddx_last_good_{name}_timestamp_seconds": (
            said,
            good[name].timestamp() if name in good else 0.0,
        )
        for name, said in about.items()
    }
