"""A server takes up knowledge that is added while it runs."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.knowledge_files import write_all

from ddx import settings
from ddx.errors import BadKnowledge
from ddx.settings import Settings
from ddx.wiring import knowledge


class Loads:
    """Stands in for the seconds that making an index takes."""

    def __init__(self) -> None:
        self.seen: list[str | None] = []
        self.fails = False

    def __call__(self, settings: Settings, shelf: Any) -> Any:
        self.seen.append(None if shelf is None else shelf.digest)
        if self.fails:
            raise MemoryError("patient text")
        return SimpleNamespace(shelf=shelf, has_grounding=False, grounding=None)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    loads = Loads()
    monkeypatch.setattr(knowledge, "load", loads)
    return loads


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return settings.load({}, tmp_path)


def test_added_knowledge_is_made_before_it_is_in_force_and_then_taken_up(
    home: Settings, loads: Loads, tmp_path: Path
) -> None:
    current = knowledge.CurrentKnowledge(home)
    first = current.get()
    assert not current.look()

    knowledge.add(home, write_all(tmp_path / "given"))
    token = knowledge.store(home).token()
    assert loads.seen == [None, token, token], "carried alone, made ready, shown by the command"

    assert current.look()
    assert current.get() is not first
    assert current.get().shelf is not None
    assert not current.look(), "once is enough"


def test_removed_knowledge_is_left_too(home: Settings, loads: Loads, tmp_path: Path) -> None:
    knowledge.add(home, write_all(tmp_path / "given"))
    current = knowledge.CurrentKnowledge(home)
    assert current.get().shelf is not None
    knowledge.remove(home, ())
    assert current.look()
    assert current.get().shelf is None


def test_nothing_is_loaded_behind_a_server_that_has_not_needed_it_yet(
    home: Settings, loads: Loads, tmp_path: Path
) -> None:
    current = knowledge.CurrentKnowledge(home)
    knowledge.add(home, write_all(tmp_path / "given"))
    loads.seen.clear()
    assert not current.look()
    assert loads.seen == []


def test_where_the_new_state_does_not_load_the_old_one_goes_on(
    home: Settings, loads: Loads, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    current = knowledge.CurrentKnowledge(home)
    first = current.get()
    knowledge.add(home, write_all(tmp_path / "given"))
    loads.fails = True

    assert not current.look()

    assert current.get() is first
    assert "not taken up" in caplog.text
    assert "patient text" not in caplog.text
    loads.seen.clear()
    assert not current.look()
    assert loads.seen == [], "it is not tried again and again"


def test_a_damaged_set_is_left_out_at_start_and_said(
    home: Settings, loads: Loads, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    knowledge.add(home, write_all(tmp_path / "given"))
    shelf = knowledge.store(home).current()
    assert shelf is not None
    (shelf.folder / "manifest.json").write_text("{")

    with caplog.at_level(logging.ERROR):
        assert knowledge.CurrentKnowledge(home).get().shelf is None

    assert "left out" in caplog.text
    with pytest.raises(BadKnowledge):
        knowledge.in_force(home)
