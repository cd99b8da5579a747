"""A server whose engine costs a known amount of processor time: its settings."""

from __future__ import annotations

from pathlib import Path

from bench.tracking import QUIET


def settings(home: Path, port: int, workers: int, cpu_ms: float) -> dict[str, str]:
    """Write the model `worked` into the home; return the environment of a server that asks it."""
    (home / "ddx.toml").write_text(
        f'[models.worked]\nengine = "instant"\ncpu_ms = {float(cpu_ms)}\n'
    )
    return QUIET | {
        "DDX_HOME": str(home),
        "DDX_PORT": str(port),
        "DDX_WORKERS": str(workers),
        "DDX_BENCH_MODELS": "1",
        "DDX_DEFAULT_MODEL": "worked",
        "DDX_LOG_LEVEL": "warning",
        "DDX_MAX_BACKLOG_MB": "100000",
        "DDX_DELIVERY": "bulk",
    }
