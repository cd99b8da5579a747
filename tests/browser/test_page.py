"""The page `/` in a real browser: a case, its answer, its findings, feedback."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.adapters.dspy_engine.stub import ANSWER, Provider, Says
from tests.browser.conftest import Opened
from tests.web.real import Running

from ddx.core.record import PredictionId

CASE = "🩺 A man of 24 has had fever for 3 days, with a rash. No cough."
"""Its first letter is two of JavaScript's, and one place of ours."""
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}


def says(*diagnoses: dict[str, Any], **changes: Any) -> Says:
    answer: dict[str, Any] = dict(ANSWER)
    (usual,) = answer["diagnoses"]
    listed = [{**usual, **one} for one in diagnoses]
    return Says(text=json.dumps(answer | {"diagnoses": listed} | changes))


MANY = says(
    {"diagnosis": "Measles", "supporting": ["rash"], "contradicting": ["No cough"]},
    {"diagnosis": "Meningitis", "supporting": ["fever for 3 days"], "urgency": "emergency"},
    missing_information=["Vaccinations"],
)


def ask(page: Any, case: str = CASE) -> None:
    page.get_by_label("The case").first.fill(case)
    page.get_by_role("button", name="Get the differential").click()
    page.get_by_role("heading", name="What became of it?").wait_for(timeout=60_000)


def marked(page: Any, kind: str = "") -> list[str]:
    return [str(text) for text in page.locator(f"mark{kind}").all_inner_texts()]


def test_a_case_is_answered_and_each_finding_leads_to_its_words(
    opened: Opened, stub: Provider
) -> None:
    stub.script[:] = [MANY]
    page = opened()
    ask(page)
    names = page.locator(".card h3").all_inner_texts()
    assert names == ["Measles", "Meningitis"]
    assert page.locator(".casetext").inner_text() == CASE
    assert marked(page) == ["fever for 3 days", "rash", "No cough"]
    assert marked(page, ".on") == []

    page.get_by_role("button", name="rash").hover()
    assert marked(page, ".on") == ["rash"]
    page.get_by_role("button", name="No cough").focus()
    assert marked(page, ".against") == ["No cough"]
    assert marked(page, ".on") == []
    page.mouse.move(0, 0)

    page.get_by_role("link", name="Meningitis").click()  # to be ruled out first
    assert page.url.endswith("#d2")
    page.get_by_label("Order").select_option("urgency")
    assert page.locator(".card h3").all_inner_texts() == ["Meningitis", "Measles"]
    for text in ("Travel?", "Vaccinations", "A febrile illness.", "Decision support"):
        assert page.get_by_text(text).first.is_visible(), text


def test_feedback_of_the_page_is_kept(opened: Opened, site: Running) -> None:
    page = opened()
    ask(page)
    id = PredictionId(page.locator("[data-f=id]").last.inner_text())
    page.get_by_label("accepted").check()
    page.get_by_label("Which diagnosis").select_option("1")
    page.get_by_label("True diagnosis").fill("Dengue fever")
    page.get_by_label("Comment").fill("Confirmed.")
    page.get_by_role("button", name="Send feedback").click()
    page.get_by_text("your feedback is kept").wait_for()
    page.get_by_role("button", name="Report a problem").click()
    page.locator(".said").filter(has_text=re.compile("^Thank")).wait_for()
    first, second = site.server.feedback_of(id)
    assert (first.outcome, first.accepted_suggestions) == ("accepted", ("1",))
    assert (first.true_diagnosis, first.comment) == ("Dengue fever", "Confirmed.")
    assert second.override_reason
    assert (second.override_reason.code, second.override_reason.comment) == (
        "problem",
        "Confirmed.",
    )


def test_nothing_of_a_case_is_in_an_address_a_title_or_the_browsers_storage(
    opened: Opened, stub: Provider
) -> None:
    canary = "zebrawood"
    stub.script[:] = [says({"supporting": [canary], "diagnosis": f"{canary} fever"})]
    page = opened()
    sent: list[str] = []
    page.on("request", lambda one: sent.extend([one.url, *one.headers.values()]))
    page.on("framenavigated", lambda frame: sent.append(frame.url))
    ask(page, f"A man fell from a {canary} tree. {CASE}")
    page.get_by_role("button", name="Report a problem").click()
    page.get_by_label("Comment").fill(canary)
    page.get_by_role("button", name="Report a problem").click()
    page.get_by_text("your feedback is kept").wait_for()
    kept = page.evaluate(
        """async () => JSON.stringify([
            {...localStorage}, {...sessionStorage}, document.cookie, document.title,
            history.state, location.href, await indexedDB.databases(), await caches.keys()])"""
    )
    assert page.get_by_text(f"{canary} fever").first.is_visible()
    assert len(sent) >= 2
    assert canary not in kept
    assert not [one for one in sent if canary in one]
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0


def test_html_in_a_case_or_an_answer_stays_text(opened: Opened, stub: Provider) -> None:
    evil = "<img src=x onerror=document.title='caught'><script>document.title='caught'</script>"
    stub.script[:] = [
        says(
            {"diagnosis": evil, "supporting": [evil], "next_steps": [evil], "lack_of_fit": evil},
            conclusion=evil,
            further_questions=[evil],
            missing_information=[evil],
        )
    ]
    for scripts in (True, False):
        page = opened(java_script_enabled=scripts)
        ask(page, f"Fever. {evil} Rash.")
        assert page.locator("main img, main script").count() == 0
        assert page.locator(".card h3").inner_text() == evil
        assert evil in page.locator(".casetext").inner_text()
        assert page.title().startswith("Differential diagnosis")


def test_without_a_script_the_form_is_answered_by_the_server(
    opened: Opened, stub: Provider, site: Running
) -> None:
    stub.script[:] = [MANY]
    page = opened(java_script_enabled=False)
    page.get_by_role("link", name="Chest pain and sweating").click()
    assert "crushing chest pain" in page.get_by_label("The case").first.input_value()
    ask(page)
    assert page.locator(".card h3").all_inner_texts() == ["Measles", "Meningitis"]
    assert marked(page) == ["fever for 3 days", "rash", "No cough"]
    assert "?" not in page.url
    id = PredictionId(page.locator("[data-f=id]").last.inner_text())
    page.get_by_label("rejected").check()
    page.get_by_role("button", name="Send feedback").click()
    assert page.get_by_role("heading", name="Thank you").is_visible()
    assert [one.outcome for one in site.server.feedback_of(id)] == ["overridden"]


def test_a_failed_prediction_is_said_with_its_advice(opened: Opened, stub: Provider) -> None:
    stub.script[:] = [Says(status=500)]
    page = opened()
    page.get_by_label("The case").first.fill(CASE)
    page.get_by_role("button", name="Get the differential").click()
    alert = page.get_by_role("alert")
    alert.get_by_role("heading").wait_for(timeout=60_000)
    assert alert.inner_text().count("\n") >= 2
    assert page.get_by_label("The case").first.input_value() == CASE
    assert page.get_by_role("button", name="Get the differential").is_enabled()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", [{}, PHONE], ids=["desk", "phone"])
def test_axe_finds_no_fault_and_nothing_is_wider_than_the_screen(
    opened: Opened, stub: Provider, kind: dict[str, Any], scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    stub.script[:] = [MANY]
    page = opened(color_scheme=scheme, **kind)
    for answered in (False, True):
        if answered:
            ask(page)
            page.locator("details summary").first.click()
        found = Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_all_is_within_reach_of_the_keyboard(opened: Opened) -> None:
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "case"
    page.keyboard.type(CASE.removeprefix("🩺 "))
    page.keyboard.press("Control+Enter")
    page.get_by_role("heading", name="What became of it?").wait_for(timeout=60_000)
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "evidence":
            break
    assert marked(page, ".on") == ["fever for 3 days"]
