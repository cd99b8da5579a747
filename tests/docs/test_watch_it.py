"""What the pages 'Watch it' and 'Why did this request fail?' say of columns, options and codes."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.make import finished

from ddx.adapters.parquet_ledger import ParquetLedger
from ddx.cli.exits import EXIT_CODE
from ddx.cli.report import command
from ddx.core.report import By
from ddx.core.usage import UsageRow, usage_row

_DOCS = Path(__file__).resolve().parents[2] / "docs"
WATCH = (_DOCS / "watch-it.md").read_text()
WHY = (_DOCS / "why-did-it-fail.md").read_text()


def test_the_program_on_the_page_reads_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("duckdb")
    ParquetLedger(tmp_path / "ddx_data").add("one", 1, [usage_row(finished())], [])
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"^```python\n(.*?)^```", WATCH, re.DOTALL | re.MULTILINE)

    exec(program, {})

    assert "count_star()" in capfd.readouterr().out


def test_the_table_of_columns_has_each_column() -> None:
    _, _, table = WATCH.partition("| columns |")
    named = set(re.findall(r"`([a-z_]+)`", table.partition("\n\n")[0]))

    assert named == {one.name for one in fields(UsageRow)}


def test_each_option_on_the_page_is_one_and_all_groups_are_there() -> None:
    said = CliRunner().invoke(command, ["--help"]).output
    table = WATCH.partition("| option |")[2].partition("\n\n")[0]

    for option in re.findall(r"`(--[a-z-]+)", table):
        assert option in said
    for one in By:
        assert f"`{one.value}`" in table


def test_each_code_that_the_page_explains_is_one() -> None:
    codes = re.findall(r"^\| `(\w+)`", WHY.partition("| code |")[2], re.MULTILINE)

    assert len(codes) > 4
    assert set(codes) <= {*EXIT_CODE, "cancelled"}
