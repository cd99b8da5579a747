"""MLflow's pages show a run of either door in the same words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contracts.test_runs import a_draft, deliver
from tests.system.test_mlflow_page import CHROMIUM, FLAGS
from tests.tracking_server import Tracking

from ddx.adapters.mlflow_runs import BulkRuns, ClientRuns

pytestmark = [
    pytest.mark.xdist_group("mlflow"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]


@pytest.fixture
def page() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as library:
        browser = library.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser.new_page(viewport={"width": 1500, "height": 1800})
        browser.close()


def words(page: Any, tracking: Tracking, experiment: str, run_id: str) -> str:
    """What a person reads on a run's own page and at its files, ids and ages left out."""
    place = f"{tracking.uri}/#/experiments/{experiment}/runs/{run_id}"
    page.goto(place)
    page.get_by_text("llm_temperature").first.wait_for(timeout=60_000)
    page.get_by_text("processing_time").first.wait_for(timeout=60_000)
    page.get_by_text("Child runs loading").wait_for(state="hidden", timeout=60_000)
    overview = page.locator("body").inner_text()
    page.goto(f"{place}/artifacts")
    page.get_by_text("final_response.txt").first.wait_for(timeout=60_000)
    both = f"{overview}\n{page.locator('body').inner_text()}"
    # The list of files shows a long id cut.
    both = re.sub(rf"{run_id}|\b{run_id[:8]}\b(?!-)", "RUN", both)
    return re.sub(r"\d+ (seconds?|minutes?) ago|just now", "AGO", both)


def test_a_run_reads_the_same_on_its_page(page: Any, tracking: Tracking) -> None:
    client = ClientRuns(tracking.uri, tracking.artifacts_path, "somebody")
    bulk = BulkRuns(tracking.db_uri, tracking.artifacts_path, "somebody")
    one = a_draft()
    seen = []
    for runs in (client, bulk):
        deliver(runs, one)
        ((run,),) = runs.look_for([one.prediction_id]).values()
        (row,) = bulk._find([one.prediction_id])[one.prediction_id]
        seen.append(words(page, tracking, str(row.experiment_id), run.run_id))
        runs.discard(run.run_id)
        runs.close()
    assert "llm_temperature" in seen[0]
    assert seen[0] == seen[1]
