"""MLflow's own pages show the runs, in a real browser."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.system.stack import running

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")


def test_mlflows_pages_show_the_run_its_params_and_its_files(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    with running(tmp_path) as stack:
        reply = stack.post(case="A boy of 3 has seizures, microcephaly and hypotonia.")
        stack.wait(lambda: len(stack.runs()) == 1, 20)
        (run,) = stack.runs()
        address = f"http://127.0.0.1:{stack.mlflow_port}"
        with sync_playwright() as library:
            browser = library.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page(viewport={"width": 1500, "height": 900})
            place = f"{address}/#/experiments/{run.info.experiment_id}"
            page.goto(f"{place}/runs")
            page.get_by_text(reply.id).first.wait_for(timeout=60_000)
            page.screenshot(path=tmp_path / "runs.png")
            page.goto(f"{place}/runs/{run.info.run_id}")
            page.get_by_text("llm_temperature").first.wait_for(timeout=60_000)
            page.screenshot(path=tmp_path / "run.png")
            page.goto(f"{place}/runs/{run.info.run_id}/artifacts")
            page.get_by_text("final_response.txt").first.wait_for(timeout=60_000)
            page.screenshot(path=tmp_path / "artifacts.png")
            browser.close()
