"""What commands print: aligned columns for people, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ddx.core.ranking import Estimate

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def new_file(path: Path) -> int:
    """Make a file that replaces none and that nobody else may read; return its open descriptor.

    Raises OutputRefused.
    """
    from ddx.errors import OutputRefused

    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise OutputRefused(f"{path} is there already") from None
    except OSError as error:
        raise OutputRefused(f"{path} cannot be made: {error.strerror}") from error


def print_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print columns as wide as their widest cell; the last one runs on."""
    cells = [tuple(head), *(tuple(_cell(value) for value in row) for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(head))]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what shows (done, of how many): a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    with click.progressbar(length=1, label=label, file=sys.stderr, show_pos=True) as bar:

        def show(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield show


def percent(estimate: Estimate) -> str:
    """Say a share and its interval, in per cent.

    >>> from ddx.core.ranking import Estimate
    >>> percent(Estimate(0.5, 0.123, 0.9))
    '50.0 (12.3-90.0)'
    """
    return f"{100 * estimate.value:.1f} ({100 * estimate.low:.1f}-{100 * estimate.high:.1f})"


def size(count: int) -> str:
    """Say a number of bytes.

    >>> size(512), size(3_500_000)
    ('512 B', '3.3 MiB')
    """
    amount, units = float(count), iter(("B", "KiB", "MiB", "GiB"))
    unit = next(units)
    for larger in units:
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"


def _cell(value: Any) -> str:
    return "-" if value is None or value == "" else str(value)
