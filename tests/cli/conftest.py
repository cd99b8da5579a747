"""A home with models behind a stub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.adapters.dspy_engine.stub import Provider, provider

from ddx.cli import run

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def stub() -> Iterator[Provider]:
    pytest.importorskip("dspy", reason="needs the extra `llm`")
    with provider() as found:
        yield found


@pytest.fixture
def cli(
    tmp_path: Path,
    stub: Provider,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Cli:
    """Run a command on a home with the models `one` and `two`; return its code and its words."""
    monkeypatch.setenv("DDX_HOME", str(tmp_path))
    entry = f'engine = "dspy"\nllm = "openai/stub"\napi_base = "{stub.url}"\nattempts = 1\n'
    (tmp_path / "ddx.toml").write_text(f"[models.one]\n{entry}\n[models.two]\n{entry}")
    (tmp_path / "ddx_data").mkdir(mode=0o700)
    (tmp_path / "ddx_data" / "cache").symlink_to(cache)

    def run_it(*arguments: object) -> tuple[int, str, str]:
        code = run([*map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_it
