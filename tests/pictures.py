"""Make the manual's pictures from a running installation with some predictions and a sweep.

Run it as `python -m tests.pictures http://127.0.0.1:8000 http://127.0.0.1:5000 docs/pictures`.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.system.test_mlflow_page import FLAGS

from ddx.core.run_draft import EXPERIMENT

WIDE = {"width": 1400, "height": 820}
_SLOW_MS = 60_000
_HIDDEN = ("Dataset", "Source", "Models")
_SHOWN = ("success", "processing_time", "output_tokens", "model_name")
"""Columns of MLflow's list of runs."""


class Pictures:
    """Takes each picture; where what it shows is not there, that fails."""

    def __init__(self, browser: Any, ddx: str, mlflow: str) -> None:
        from mlflow import MlflowClient

        self._browser, self._ddx, self._mlflow = browser, ddx, mlflow
        self._client = MlflowClient(mlflow)

    def all(self) -> dict[str, Callable[[Path], None]]:
        """Return each picture's name and what takes it."""
        return {
            "dashboard.png": self.dashboard,
            "request.png": self.request,
            "mlflow-runs.png": self.runs,
            "mlflow-run.png": self.run,
            "mlflow-compare.png": self.compare,
        }

    def dashboard(self, path: Path) -> None:
        page = self._page(f"{self._ddx}/dashboard?range=24h", height=1500)
        for image in page.locator("img").all():
            image.scroll_into_view_if_needed()
            image.evaluate("one => one.decode()")
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=path)

    def request(self, path: Path) -> None:
        page = self._page(f"{self._ddx}/dashboard?range=24h")
        page.locator("#failures tbody a").first.click()
        page.get_by_role("heading", name="Exact prompt").wait_for()
        page.screenshot(path=path)

    def runs(self, path: Path) -> None:
        """The list of runs, with metrics as columns, the slowest first."""
        experiment = self._experiment(EXPERIMENT)
        page = self._page(
            f"{self._mlflow}/#/experiments/{experiment}/runs"
            "?orderByKey=metrics.%60processing_time%60&orderByAsc=false"
        )
        self._settle(page)
        page.get_by_role("button", name="Columns").first.click()
        for name in (*_HIDDEN, *_SHOWN):
            page.get_by_placeholder("Search columns").fill(name)
            page.wait_for_timeout(500)
            page.locator(
                ".du-bois-light-tree-treenode:has(strong) span.du-bois-light-tree-checkbox"
            ).last.click()
        page.keyboard.press("Escape")
        page.mouse.click(5, 400)
        self._settle(page)
        page.screenshot(path=path)

    def run(self, path: Path) -> None:
        """One run: its params, metrics and tags."""
        experiment = self._experiment(EXPERIMENT)
        run = self._client.search_runs([experiment], "metrics.success = 1", max_results=1)[0]
        page = self._page(f"{self._mlflow}/#/experiments/{experiment}/runs/{run.info.run_id}")
        page.get_by_text("llm_temperature").first.wait_for(timeout=_SLOW_MS)
        self._settle(page)
        page.screenshot(path=path)

    def compare(self, path: Path) -> None:
        """The cells of the newest sweep, side by side."""
        experiment = self._experiment("ddx-evaluation")
        runs = self._client.search_runs([experiment])
        parents = [run.data.tags.get("mlflow.parentRunId") for run in runs]
        (newest, *_) = [parent for parent in parents if parent]
        cells = [
            run.info.run_id for run, parent in zip(runs, parents, strict=True) if parent == newest
        ]
        page = self._page(
            f"{self._mlflow}/#/compare-runs?runs={quote(json.dumps(cells))}"
            f"&experiments={quote(json.dumps([experiment]))}",
            height=1500,
        )
        page.get_by_text("Run details").first.wait_for(timeout=_SLOW_MS)
        self._settle(page)
        page.get_by_text("Visualizations").first.click()
        page.wait_for_timeout(500)
        page.screenshot(path=path)

    def _page(self, address: str, height: int = WIDE["height"]) -> Any:
        page = self._browser.new_page(viewport={**WIDE, "height": height})
        page.goto(address)
        return page

    def _settle(self, page: Any) -> None:
        page.wait_for_timeout(4_000)
        if page.get_by_placeholder("Ask a question").count():
            page.mouse.click(WIDE["width"] - 36, 36)  # the cross of the panel beside has no name
        page.wait_for_timeout(1_000)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        assert found is not None, f"MLflow has no experiment {name}"
        return str(found.experiment_id)


def main(ddx: str, mlflow: str, folder: str, *names: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as library:
        browser = library.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for name, take in Pictures(browser, ddx, mlflow).all().items():
            if not names or name in names:
                take(Path(folder) / name)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
