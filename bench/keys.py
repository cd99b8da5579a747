"""What a master key costs a request: taking a key, and keeping a record, with it and without.

python -m bench.keys [ROUNDS]
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bench.tracking import fill
from ddx.adapters.sqlite_journal import KeyFile, SqliteJournal
from ddx.adapters.sqlite_journal.keys import BLOCK
from ddx.adapters.vault import FileVault, KeptMaster
from ddx.ports import Vault

RECORDS = 3 * BLOCK
MASTER = os.urandom(32)


def measured(folder: Path, vault: Vault | None) -> tuple[float, float, float]:
    """Return seconds for a block of fresh keys, for one key, and for one record kept."""
    (folder / "keys").mkdir()
    with closing(KeyFile(folder / "keys" / "x.keys", writable=True, vault=vault)) as keys:
        grown = _took(keys.grow)
        took = _took(lambda: [keys.get(number) for number in range(BLOCK)]) / BLOCK
    with closing(SqliteJournal(folder, "main", vault)) as journal:
        return grown, took, _took(lambda: fill(journal, RECORDS)) / RECORDS


def main(rounds: int) -> None:
    """Measure both in turns, and print the medians."""
    found: dict[str, list[tuple[float, float, float]]] = {"plain": [], "wrapped": []}
    for _ in range(rounds):
        for name, seen in found.items():
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                master = (lambda: KeptMaster(MASTER)) if name == "wrapped" else None
                seen.append(measured(folder, FileVault(folder / "keys", master)))
    medians = {
        name: [statistics.median(one) for one in zip(*seen, strict=True)]
        for name, seen in found.items()
    }
    for what, plain, wrapped in zip(
        (f"{BLOCK} fresh keys, synced", "a key", "a record kept, its key included"),
        medians["plain"],
        medians["wrapped"],
        strict=True,
    ):
        print(
            f"{what}: wrapped {wrapped * 1e6:.1f} us, plain {plain * 1e6:.1f} us"
            f" ({wrapped / plain:.2f} times)"
        )


def _took(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
