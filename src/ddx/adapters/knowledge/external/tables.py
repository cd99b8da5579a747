"""Lines of a compressed file, within bounds."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

from ddx.errors import BadKnowledge

LARGEST_BYTES = 1 << 29
"""Of a file once unpacked: more is a mistake, or meant to fill the memory."""


def lines(path: Path) -> Iterator[str]:
    """Yield the lines of a gzip file without their ends.

    Raises BadKnowledge where it is too large, gzip.BadGzipFile, EOFError, zlib.error and
    UnicodeDecodeError where it is damaged.
    """
    read = 0
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        for line in file:
            read += len(line)
            if read > LARGEST_BYTES:
                raise BadKnowledge(f"{path.name} has more than {LARGEST_BYTES >> 20} MiB unpacked.")
            yield line.rstrip("\r\n")


def rows(path: Path, columns: int, header: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """Yield the cells of each row after the header.

    Raises BadKnowledge, naming the line, where the header or the number of cells differs.
    """
    for number, line in enumerate(lines(path), start=1):
        cells = line.split("\t")
        if len(cells) != columns:
            raise BadKnowledge(f"{path.name}, line {number}: {columns} columns are expected.")
        if number == 1 and header:
            if tuple(cells) != header:
                raise BadKnowledge(f"{path.name} does not begin with {', '.join(header)}.")
            continue
        yield cells
