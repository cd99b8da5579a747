"""The dashboard and a request's page in a real browser, over a whole installation with MLflow."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.adapters.dspy_engine.stub import Provider, Says
from tests.browser.test_page import PHONE
from tests.system.stack import Stack, running

pytest.importorskip("duckdb", reason="needs the extra `analytics`")

CASE = "A man of 24 has had fever for 3 days, with a rash. CANARY-7731."
Opened = Any


@dataclass
class Installed:
    """A stack, and what was asked of it: two answers, a refusal to answer, a failure."""

    stack: Stack
    answered: str
    failed: str

    def ddx(self, *arguments: str) -> dict[str, Any]:
        """Run a command of this installation; return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "ddx", *arguments, "--json"],
            env={
                "PATH": "/usr/bin:/bin",
                "DDX_HOME": str(self.stack.home),
                "DDX_PORT": str(self.stack.port),
                "DDX_MLFLOW_PORT": str(self.stack.mlflow_port),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, stub: Provider) -> Iterator[Installed]:
    home = tmp_path_factory.mktemp("installed")
    (home / "ddx.toml").write_text(
        f'[models.stub]\nengine = "dspy"\nllm = "openai/stub"\napi_base = "{stub.url}"\n'
        'attempts = 1\n\n[prices."openai/stub"]\ninput = 10.0\noutput = 20.0\n'
    )
    stub.script[:] = [Says(), Says(status=401), Says()]
    with running(home) as stack:
        answered = stack.post(case=CASE, model_name="stub")
        failed = stack.post(case=CASE, model_name="stub")
        assert (answered.status, failed.status) == (200, 502)
        stack.post(case="Feels unwell.", model_name="knowledge")
        stack.post(case="Fever, headache, stiff neck and a petechial rash.", model_name="knowledge")
        stack.wait(lambda: len(stack.runs()) == 4, 30)
        stack.wait(lambda: ">4</dd>" in stack.get("/dashboard").body.decode(), 30)
        yield Installed(stack, answered.id, failed.id)


@pytest.fixture
def opened(browser: Any, installed: Installed) -> Iterator[Opened]:
    """Open an address as some browser would; scripts and policies must meet no error."""
    contexts, faults = [], []
    ours = f"http://127.0.0.1:{installed.stack.port}"

    def said(one: Any) -> None:
        if one.type == "error" and one.location["url"].startswith(ours):
            faults.append(one.text)

    def opens(path: str, **kind: Any) -> Any:
        contexts.append(browser.new_context(**kind))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", said)
        page.goto(ours + path)
        return page

    yield opens
    for context in contexts:
        context.close()
    assert faults == []


def tiles(page: Any) -> dict[str, str]:
    """What the tiles say: text -> figure."""
    found = page.locator("#figures > .tiles > div").all()
    return {one.locator("dt").inner_text(): one.locator("dd").inner_text() for one in found}


def test_figures_are_those_of_the_report_and_of_mlflows_runs(
    opened: Opened, installed: Installed
) -> None:
    page = opened("/dashboard")
    shown = tiles(page)
    report = installed.ddx("report", "--by", "model,prompt,temperature")
    verified = installed.ddx("ledger", "verify")

    assert verified["ok"], verified
    assert shown["predictions"] == str(report["predictions"]) == "4"
    assert shown["success"] == f"{100 * report['success_rate']:.1f} %" == "75.0 %"
    assert shown["median time"] == f"{report['p50_s']:.3g} s"
    assert float(shown["cost, 1 of unknown cost"].strip("$")) == pytest.approx(
        report["cost_usd"], abs=5e-5
    )
    assert verified["sums"]["cost_usd"] == [pytest.approx(report["cost_usd"])] * 2
    rows = page.locator("#settings table").first.locator("tbody tr").all()
    assert [row.locator("td").nth(3).inner_text() for row in rows] == [
        str(one["predictions"]) for one in report["by"]
    ]


def test_every_chart_is_drawn(opened: Opened) -> None:
    page = opened("/dashboard")
    images = page.locator("img").all()
    assert len(images) >= 7
    for image in images:
        image.scroll_into_view_if_needed()
        image.evaluate("one => one.decode()")
        assert image.evaluate("one => one.naturalWidth") > 0
        assert image.get_attribute("alt")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_filter_is_in_the_address_and_a_failed_request_shows_all_of_it(
    opened: Opened, installed: Installed, scripts: bool
) -> None:
    page = opened("/dashboard", java_script_enabled=scripts)
    page.get_by_text("Days and filters").click()
    page.get_by_label("Outcome").select_option("failed")
    page.get_by_role("button", name="Show").click()
    assert "outcome=failed" in page.url
    assert tiles(page)["predictions"] == "1"
    assert CASE not in page.content()

    page.get_by_role("link", name=installed.failed).click()
    assert page.url.endswith(f"/dashboard/requests/{installed.failed}")
    text = page.locator("main").inner_text()
    for part in ("Failed: model_error", CASE, "openai/stub", "LMAuthError", "502"):
        assert part in text, part
    assert "CANARY" not in page.title()
    prompt = page.get_by_role("region", name="Exact prompt").inner_text()
    assert CASE in prompt


def test_a_request_leads_to_its_run_in_mlflow(opened: Opened, installed: Installed) -> None:
    (run,) = [one for one in installed.stack.runs() if one.info.run_name == installed.failed]
    reply = installed.stack.get(f"/dashboard/requests/{installed.failed}/mlflow")
    assert reply.status == 303
    assert reply.headers["location"].endswith(f"/runs/{run.info.run_id}")

    page = opened(f"/dashboard/requests/{installed.failed}")
    page.get_by_role("link", name="Its run in MLflow").click()
    page.wait_for_url(re.compile(f"/runs/{run.info.run_id}"))
    page.get_by_text(installed.failed).first.wait_for(timeout=60_000)


def test_a_request_can_be_replayed_and_shows_what_moved(
    opened: Opened, installed: Installed, stub: Provider
) -> None:
    stub.script[:] = [Says()]
    page = opened(f"/dashboard/requests/{installed.answered}")
    page.get_by_label("again with").select_option("knowledge")
    page.get_by_role("button", name="Replay").click()
    page.get_by_role("heading", name="What moved since the earlier answer").wait_for(timeout=60_000)
    moved = page.get_by_role("region", name="What moved").inner_text()
    assert "Dengue fever" in moved
    assert page.get_by_role("link", name=installed.answered).count() == 1
    assert CASE in page.locator("main").inner_text()


def test_live_figures_follow_without_losing_what_is_open(
    opened: Opened, installed: Installed
) -> None:
    page = opened("/dashboard?live=1")
    page.locator("details.figures summary").click()
    page.evaluate("document.activeElement.blur()")
    before = int(tiles(page)["predictions"])
    installed.stack.post(case="Feels unwell.", model_name="knowledge")
    installed.stack.wait(lambda: int(tiles(page)["predictions"]) > before, 60)
    assert page.locator("details.figures").evaluate("one => one.open")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", [{}, PHONE], ids=["desk", "phone"])
def test_axe_finds_no_fault_and_nothing_is_wider_than_the_screen(
    opened: Opened, installed: Installed, kind: dict[str, Any], scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    for path in (
        "/dashboard?outcome=failed",
        "/dashboard?since=2020-01-01&until=2020-01-02",
        f"/dashboard/requests/{installed.failed}",
        f"/dashboard/requests/{installed.answered}",
    ):
        page = opened(path, color_scheme=scheme, **kind)
        found = Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
