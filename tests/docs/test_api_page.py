"""The examples of docs/api.md run as they stand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.web.real import Running, running

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text()
URL = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("server")) as found:
        yield found


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found


def test_the_programs_run_one_after_the_other(
    site: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {"__name__": "an_example"}
    for block in blocks("python"):
        exec(compile(block.replace(URL, site.url), "docs/api.md", "exec"), names)
    said = capsys.readouterr().out
    assert "1 Fixed diagnosis 1 High" in said
    assert "unknown_model" in said
    assert "provisional: 1 Fixed diagnosis 1" in said
    assert "AVAILABLE" in said


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("number", range(len(blocks("bash"))))
def test_the_commands_are_answered(site: Running, number: int) -> None:
    block = blocks("bash")[number].replace(URL, site.url)
    done = subprocess.run(
        ["bash", "-c", block], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    if "/stream" in block:
        assert done.stdout.startswith("event: accepted\n")
        assert "\nevent: final\n" in done.stdout
    else:
        assert "code" not in json.loads(done.stdout)
