"""Names that are held by one process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ddx.adapters import slots

NAMES = ("main", "main-2")
HOLD = """
import sys
from pathlib import Path
from ddx.adapters import slots
print(slots.take(Path(sys.argv[1]), sys.argv[2:]), flush=True)
sys.stdin.read()
"""


def another(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start a process that takes a name and holds it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder, *NAMES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_each_process_has_the_first_name_that_is_free_and_a_dead_one_s_is_free_at_once(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    first, its_name = another(folder)
    second, other = another(folder)
    try:
        assert (its_name, other) == NAMES
        assert slots.take(folder, NAMES) is None
        first.kill()
        first.wait()
        assert slots.take(folder, NAMES) == "main"
        assert slots.take(folder, NAMES) is None
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
