"""The entries of docs/your-own-model.md are what the settings take, and reach their providers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ddx.core.registry import EngineKind
from ddx.settings import Settings, load

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "your-own-model.md").read_text()
BLOCKS = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
WAYS = {
    "gemini-2.5-pro": "gemini/",
    "gpt-4.1": "openai/",
    "claude-opus": "anthropic/",
    "azure": "azure/",
    "bedrock-claude": "bedrock-anthropic:",
    "bedrock-oss": "bedrock-chat:",
    "vertex-gemini": "vertex:",
    "vertex-claude": "vertex-anthropic:",
    "ollama": "compatible/",
    "vllm": "compatible/",
    "llamacpp": "compatible/",
    "gateway": "compatible/",
    "careful": "gemini/",
    "clinic": "openai/",
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("home")
    (home / "ddx.toml").write_text("\n".join(BLOCKS))
    return load({}, home=home)


def test_every_entry_is_taken(settings: Settings) -> None:
    named = set(re.findall(r"^\[models\.\"?([^\"\]]+)\"?\]", "\n".join(BLOCKS), re.MULTILINE))
    assert named - {"gemini-2.0-flash+knowledge"} == set(WAYS)
    assert all(settings.models[name].engine is EngineKind.DSPY for name in named)
    assert settings.models["careful"].fallback == "knowledge"
    assert settings.models["gemini-2.0-flash+knowledge"].knowledge
    assert settings.prices["openai/our-model"].cached == 0.03


@pytest.mark.parametrize("name", WAYS)
def test_each_goes_the_way_of_its_provider(settings: Settings, name: str) -> None:
    pytest.importorskip("dspy", reason="needs the extra `llm`")
    from ddx.adapters.dspy_engine import library

    model = settings.models[name]
    wire = library.load().wire.Wire(
        llm=model.llm, api_base=model.api_base, api_key="key", connections=1
    )
    assert wire.route.startswith(WAYS[name])
