from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddx.adapters.knowledge.cache import load_or_build


class Maker:
    """Makes a small index, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> tuple[dict[str, Any], dict[str, Any], str]:
        self.times += 1
        return {"numbers": np.arange(1000)}, {"names": ["é", "b"]}, "2000-01-01"


def test_an_index_is_made_once_for_each_source(tmp_path: Path) -> None:
    maker = Maker()
    first = load_or_build(tmp_path / "new", {"a": "1"}, maker)
    again = load_or_build(tmp_path / "new", {"a": "1"}, maker)
    assert maker.times == 1
    assert (again.digest, again.version, again.strings) == (
        first.digest,
        first.version,
        first.strings,
    )
    assert np.array_equal(again.arrays["numbers"], first.arrays["numbers"])
    load_or_build(tmp_path / "new", {"a": "2"}, maker)
    assert maker.times == 2


@pytest.mark.parametrize("suffix", [".npz", ".json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "gone"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, suffix: str, damage: str) -> None:
    maker = Maker()
    whole = load_or_build(tmp_path, {"a": "1"}, maker)
    (path,) = tmp_path.glob(f"*{suffix}")
    content = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "flipped":
            middle = len(content) // 2
            flipped = bytes([content[middle] ^ 0x55])
            path.write_bytes(content[:middle] + flipped + content[middle + 1 :])
        case "emptied":
            path.write_bytes(b"")
        case "gone":
            path.unlink()
    assert load_or_build(tmp_path, {"a": "1"}, maker).digest == whole.digest
    assert maker.times == 2
    load_or_build(tmp_path, {"a": "1"}, maker)
    assert maker.times == 2


def test_no_draft_is_left_behind(tmp_path: Path) -> None:
    load_or_build(tmp_path, {"a": "1"}, Maker())
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".npz"]


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert load_or_build(tmp_path / "file", {"a": "1"}, Maker()).version == "2000-01-01"
