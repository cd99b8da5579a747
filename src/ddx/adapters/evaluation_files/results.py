"""The results file: one line for the plan, one for each answer. It outlives a stop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ddx.core.evaluation import Plan, Row, plan_line, read_plan, read_row, row_line
from ddx.errors import BadResults

NAME = "results.jsonl"


class Results:
    """A results file that grows as answers come."""

    def __init__(self, path: Path, plan: Plan) -> None:
        """Open it for more, or begin it with its plan."""
        self.path, self._plan = path, plan
        begun = path.exists()
        self._file = path.open("a", encoding="utf-8")
        if not begun:
            self._write(plan_line(plan))
        elif not path.read_bytes().endswith(b"\n"):
            self._file.write("\n")

    def keep(self, row: Row) -> None:
        """Add one answer; it is in the file when this returns."""
        self._write(row_line(row))

    def replace(self, rows: Sequence[Row]) -> None:
        """Write the file anew: each answer once, as graded now."""
        self.close()
        draft = self.path.with_suffix(".part")
        lines = [plan_line(self._plan), *map(row_line, rows)]
        draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
        draft.replace(self.path)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _write(self, line: str) -> None:
        self._file.write(line + "\n")
        self._file.flush()


def read_results(path: Path) -> tuple[Plan, list[Row]]:
    """Return the plan and the last answer for each case and attempt.

    `path` is the file or its folder. A last line that was cut is left out. Raises BadResults.
    """
    file = path / NAME if path.is_dir() else path
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise BadResults(f"there is no results file {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadResults(f"{file} cannot be read: {type(error).__name__}") from error
    try:
        plan = read_plan(lines[0])
    except (IndexError, ValueError, TypeError):
        raise BadResults(f"{file}, line 1: this is no results file of `ddx evaluate`") from None
    rows: dict[tuple[str, int], Row] = {}
    for number, line in enumerate(lines[1:], start=2):
        try:
            row = read_row(line)
        except json.JSONDecodeError:
            # Cut where a process died; a resumed one went on in the next line.
            continue
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BadResults(f"{file}, line {number}: this is no answer of a case") from None
        rows[row.case_id, row.attempt] = row
    return plan, list(rows.values())
