"""What a worker process does, without a cluster around it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ddx import __version__
from ddx.core import codec
from ddx.core.pieces import answers, piece
from ddx.core.record import Request
from ddx.errors import NodeRefused
from ddx.settings import load
from ddx.settings.carried import carried, carry
from ddx.wiring import ledger_work, work
from ddx.wiring.serving import Engines

QUESTION = codec.encode(Request(case="CANARY fever", model_name="instant"))


def setup_of(home: Path, **changed: Any) -> bytes:
    settings = load({"DDX_HOME": str(home), "DDX_BENCH_MODELS": "1"})
    values = json.loads(work.setup_of(settings, Engines(settings), "instant"))
    return json.dumps({**values, **changed}).encode()


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker sets up the logs of its process, which is this one here."""
    monkeypatch.setattr("ddx.adapters.logs.set_up", lambda level: None)
    monkeypatch.setattr(work, "_made", {})


def test_settings_travel_without_a_key_and_a_node_has_files_of_its_own(tmp_path: Path) -> None:
    said = 'engine = "dspy"\nllm = "openai/x"\napi_key_env = "SECRET_KEY"\n'
    (tmp_path / "ddx.toml").write_text(
        f'ray_address = "10.0.0.5:6379"\nprivacy = "mask"\n[models.mine]\n{said}'
        '[prices."openai/x"]\ninput = 1.0\noutput = 2.0\n'
    )
    settings = load({"SECRET_KEY": "hush-hush"}, tmp_path)
    assert settings.ray_address == "10.0.0.5:6379"

    line = json.dumps(carry(settings))
    there = carried(json.loads(line), {"SECRET_KEY": "its own", "DDX_HOME": "/srv/ddx"})

    assert "hush-hush" not in line
    assert (there.models, there.prompts, there.prices) == (
        settings.models,
        settings.prompts,
        settings.prices,
    )
    assert there.privacy == "mask"
    assert there.api_key(there.models["mine"]) == "its own"
    assert there.data == Path("/srv/ddx/ddx_data")
    assert carried(json.loads(line), {}).data == settings.data
    assert carried(json.loads(line), {"DDX_DATA_DIR": "/data"}).data == Path("/data")


def test_a_piece_is_answered_line_by_line(tmp_path: Path) -> None:
    found = answers(work.asked(setup_of(tmp_path), piece([QUESTION, QUESTION])), 2)
    assert [json.loads(line)["outcome"]["kind"] for line in found] == ["answered"] * 2
    assert "rationale" not in found[0]
    assert "supporting" not in found[0]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"version": "0.0.1"}, f"a node has ddx {__version__}, the sender 0.0.1"),
        ({"knowledge": "0" * 64}, "other knowledge"),
    ],
)
def test_a_node_that_would_answer_otherwise_refuses(
    tmp_path: Path, cache: Path, changed: dict[str, Any], why: str
) -> None:
    (tmp_path / "ddx_data").mkdir(mode=0o700)
    (tmp_path / "ddx_data" / "cache").symlink_to(cache)
    with pytest.raises(NodeRefused, match=why):
        answers(work.asked(setup_of(tmp_path, **changed), piece([QUESTION])), 1)


def test_a_model_that_a_node_cannot_ask_is_a_refusal(tmp_path: Path) -> None:
    line = codec.encode(Request(case="fever", model_name="gemini-2.0-flash"))
    with pytest.raises(NodeRefused, match="needs an API key"):
        answers(work.answered(setup_of(tmp_path), piece([line])), 1)


def test_what_cannot_be_read_is_told_without_a_word_of_it(tmp_path: Path) -> None:
    for told in (
        work.asked(setup_of(tmp_path), b'{"v":1,"CANARY":1}'),
        work.answered(b"{}", piece([QUESTION])),
        ledger_work.paged(str(tmp_path).encode(), b'{"CANARY":1}'),
    ):
        assert b"CANARY" not in told
        with pytest.raises(NodeRefused, match="failed with"):
            answers(told, 1)
