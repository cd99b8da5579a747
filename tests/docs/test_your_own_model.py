"""The entries of docs/your-own-model.md are what the settings take, and reach their providers."""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ddx.adapters.dspy_engine import DspyEngine, library
from ddx.core.record import Failed, Request
from ddx.core.registry import EngineKind, Model, PromptConfig
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
CASE = "Fever for 3 days."
CLOUDS = {
    "AWS_REGION": "eu-central-1",
    "GOOGLE_CLOUD_PROJECT": "clinic",
    "GOOGLE_CLOUD_LOCATION": "europe-west4",
}
KEY = "a-key-of-tests"
BEARER = ("authorization", f"Bearer {KEY}")
KEYLESS = ("authorization", "Bearer none")
CHAT = "chat/completions"
GEMINI = "https://generativelanguage.googleapis.com/v1beta/models"
VERTEX = "https://europe-west4-aiplatform.googleapis.com/v1/projects/clinic/locations/europe-west4"
LEAVES = {
    "gemini-2.5-pro": (f"{GEMINI}/gemini-2.5-pro:generateContent", ("x-goog-api-key", KEY)),
    "careful": (f"{GEMINI}/gemini-2.0-flash:generateContent", ("x-goog-api-key", KEY)),
    "gpt-4.1": (f"https://api.openai.com/v1/{CHAT}", BEARER),
    "clinic": (f"https://api.openai.com/v1/{CHAT}", BEARER),
    "claude-opus": ("https://api.anthropic.com/v1/messages", ("x-api-key", KEY)),
    "azure": (f"https://my-resource.openai.azure.com/openai/v1/{CHAT}", ("api-key", KEY)),
    "bedrock-claude": (
        "https://bedrock-mantle.eu-central-1.api.aws/anthropic/v1/messages",
        ("authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"),
    ),
    "bedrock-oss": (
        f"https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1/{CHAT}",
        ("authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"),
    ),
    "vertex-gemini": (
        f"{VERTEX}/publishers/google/models/gemini-2.5-flash:generateContent",
        BEARER,
    ),
    "vertex-claude": (
        f"{VERTEX}/publishers/anthropic/models/claude-sonnet-4-5:rawPredict",
        BEARER,
    ),
    "ollama": (f"http://127.0.0.1:11434/v1/{CHAT}", KEYLESS),
    "vllm": (f"http://gpu-1.internal:8000/v1/{CHAT}", KEYLESS),
    "llamacpp": (f"http://127.0.0.1:8081/v1/{CHAT}", KEYLESS),
    "gateway": (f"https://llm.clinic.example/v1/{CHAT}", BEARER),
}
"""Where the request of each entry goes, and what it shows there."""


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
    model = settings.models[name]
    wire = library.load().wire.Wire(
        llm=model.llm, api_base=model.api_base, api_key="key", connections=1
    )
    assert wire.route.startswith(WAYS[name])


def test_the_page_loads_block_by_block_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise AssertionError("the settings asked the network")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    for block in BLOCKS:
        (tmp_path / "ddx.toml").write_text(block)
        assert load({}, home=tmp_path).models


@pytest.mark.parametrize("name", WAYS)
async def test_each_asks_whom_it_says(
    settings: Settings, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dspy", reason="needs the extra `llm`")
    model = settings.models[name]
    url, (header, value) = LEAVES[name]

    request = await what_leaves(model, monkeypatch)

    headers = {name.lower(): value for name, value in request.headers}
    assert request.url == url
    assert headers[header].startswith(value)
    assert CASE.encode() in request.body


async def what_leaves(model: Model, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ask once, and return the request that would have gone over the wire."""
    library.load()
    from dspy._vendor.lm15.transports import TransportError

    from ddx.adapters.dspy_engine import wire

    left = []

    class Cable:
        def __init__(self, **_: Any) -> None:
            pass

        def stream(self, request: Any) -> Any:
            left.append(request)
            raise TransportError("cut by the test")

        def close(self) -> None:
            pass

    monkeypatch.setattr(wire, "StdlibTransport", Cable)
    own = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "a-secret"}
    for variable, value in {**CLOUDS, **own}.items():
        monkeypatch.setenv(variable, value)
    # Google's own credentials would be fetched from Google: a token stands for them.
    has_key = model.needs_key or model.name.startswith("vertex")
    engine = DspyEngine(
        model=replace(model, attempts=1, prompt=None),
        prompts={1: PromptConfig(index=1, name="plain", text="Diagnose.")},
        api_key=KEY if has_key else None,
        threads=1,
    )
    answer = await engine.ask(Request(case=CASE, model_name=model.name), 20)
    assert isinstance(answer.outcome, Failed)
    (request,) = left
    return request
