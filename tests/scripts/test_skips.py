"""tests/conftest.py: what CI does with a test that was skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
SKIPPED = "import pytest\n\ndef test_one():\n    pytest.skip({reason!r})\n"
MARKED = "import pytest\n\n@pytest.mark.skipif(True, reason={reason!r})\ndef test_one(): ...\n"
PLAIN = "\ndef test_two(): ...\n"


@pytest.mark.parametrize("form", [SKIPPED, MARKED])
@pytest.mark.parametrize(
    ("reason", "ci", "code"),
    [
        ("needs chromium", "true", 1),
        ("needs chromium", "", 0),
        ("only on Windows", "true", 0),
    ],
)
def test_in_ci_a_skip_for_something_absent_fails_and_is_named(
    tmp_path: Path, form: str, reason: str, ci: str, code: int
) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text())
    (tmp_path / "test_it.py").write_text(form.format(reason=reason) + PLAIN)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code, done.stdout
    named = "CI does not allow it: test_it.py::test_one: needs chromium" in done.stdout
    assert named == bool(code)
