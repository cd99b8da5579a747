"""The server's parts, as settings choose them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tests.make import finished

from ddx import settings
from ddx.adapters.sqlite_journal import SqliteJournal
from ddx.wiring import serving
from ddx.wiring.doors import Journals


def test_a_journal_in_memory_needs_no_data_folder(tmp_path: Path) -> None:
    loaded = settings.load({"DDX_JOURNAL": "memory", "DDX_BENCH_MODELS": "1"}, tmp_path)
    admission = serving.admission(loaded, lambda: ())
    serving.journal(loaded)
    admission.refresh()
    admission.check()
    assert not loaded.data.exists()


def test_a_journal_that_appears_later_counts_and_so_does_what_is_written_then(
    tmp_path: Path,
) -> None:
    loaded = settings.load({}, tmp_path)
    with closing(Journals(loaded)) as journals:
        admission = serving.admission(loaded, journals)
        waiting = []
        for instance in ("main", "main-2"):
            with closing(SqliteJournal(loaded.data, instance)) as journal:
                for _ in range(2):
                    journal.accept(finished(), None).result()
                    admission.refresh()
                    waiting.append(admission.backlog.records)
    assert waiting == [1, 2, 3, 4]
