"""Debian's Chromium on a server of this process, with an LLM that says what it is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.dspy_engine.stub import Provider, Says, provider
from tests.system.test_mlflow_page import FLAGS
from tests.web.real import Running, running

CHROMIUM = shutil.which("chromium")
Opened = Callable[..., Any]


@pytest.fixture(scope="session")
def stub() -> Iterator[Provider]:
    pytest.importorskip("dspy", reason="needs the extra `llm`")
    with provider() as found:
        yield found


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, stub: Provider) -> Iterator[Running]:
    """One server for all tests here; it shares the index of the engine's own tests."""
    home: Path = tmp_path_factory.mktemp("site")
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if base.name.startswith("popen-") else base) / "knowledge"
    shared.mkdir(mode=0o700, exist_ok=True)
    (home / "ddx_data").mkdir(mode=0o700)
    (home / "ddx_data" / "cache").symlink_to(shared)
    (home / "ddx.toml").write_text(f'[models.local]\napi_base = "{stub.url}"\nattempts = 1\n')
    with running(home, DDX_DEFAULT_MODEL="local") as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as library:
        found = library.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def opened(browser: Any, site: Running, stub: Provider) -> Iterator[Opened]:
    """Open the page `/` as some browser would; it must meet no error in a script or a policy."""
    stub.script[:] = [Says()]
    contexts, faults = [], []

    def opens(path: str = "/", **kind: Any) -> Any:
        contexts.append(browser.new_context(**kind))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        page.goto(site.url + path)
        return page

    yield opens
    for context in contexts:
        context.close()
    # A refusal is an answer; Chromium notes its status as an error.
    assert [one for one in faults if "Failed to load resource" not in one] == []
