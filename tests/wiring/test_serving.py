"""The server's parts, as settings choose them."""

from __future__ import annotations

from pathlib import Path

from ddx import settings
from ddx.wiring import serving


def test_a_journal_in_memory_needs_no_data_folder(tmp_path: Path) -> None:
    loaded = settings.load({"DDX_JOURNAL": "memory", "DDX_BENCH_MODELS": "1"}, tmp_path)
    admission = serving.admission(loaded, lambda: ())
    serving.journal(loaded)
    admission.refresh()
    admission.check()
    assert not loaded.data.exists()
