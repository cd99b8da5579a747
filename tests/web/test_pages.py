"""The pages as any client gets them, without a browser."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

FORM = {"content-type": "application/x-www-form-urlencoded"}


def test_a_page_lets_in_nothing_from_outside_and_nothing_inline(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert not re.search(r"<style|<script(?! src=)|\sstyle=|\son[a-z]+=", page.text)
    loaded = re.findall(r'(?:src|<link [^>]*href)="([^"]+)"', page.text)
    assert len(loaded) == 3
    for address in loaded:
        file = client.get(address)
        assert file.status_code == 200
        assert "immutable" in file.headers["cache-control"]
        assert file.headers["x-content-type-options"] == "nosniff"


def test_an_asset_that_is_none_is_not_found(client: TestClient) -> None:
    for path in ("/assets/x/none.css", "/assets/x/..%2Fhome.py", "/assets/x/%2Fetc%2Fpasswd"):
        assert client.get(path).status_code == 404
    assert client.get("/assets/old/ddx.css").headers["cache-control"] == "no-store"


def test_a_form_of_another_site_is_refused(client: TestClient) -> None:
    for path in ("/", "/feedback"):
        foreign = client.post(
            path, content="case=x", headers=FORM | {"origin": "https://other.example"}
        )
        assert foreign.status_code == 422
        assert client.get("/predictions").json()["predictions"] == []
    own = client.post("/", content="case=x", headers=FORM | {"origin": "http://testserver"})
    assert own.status_code == 200


@pytest.mark.parametrize(
    ("form", "status", "word"),
    [
        ("case=", 422, "case is required"),
        ("case=x&model_name=none-such", 400, "Unknown model"),
        ("case=x&prompt_version=nine", 422, "prompt_version"),
        ("case=x&setting=moon", 422, "setting"),
        ("case=Fever%0D%0Aand+rash", 200, "Fever\nand rash"),
    ],
)
def test_a_form_is_answered_or_told_what_is_wrong_with_it(
    client: TestClient, form: str, status: int, word: str
) -> None:
    page = client.post("/", content=form, headers=FORM)
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")
    assert word in page.text


def test_feedback_of_a_form_needs_something_to_say(client: TestClient) -> None:
    id = client.post("/predict/v1", json={"case": "x"}).headers["x-prediction-id"]
    empty = client.post("/feedback", content=f"prediction_id={id}", headers=FORM)
    assert empty.status_code == 422
    good = client.post("/feedback", content=f"prediction_id={id}&comment=ok", headers=FORM)
    assert good.status_code == 200
    assert client.get(f"/predictions/{id}").json()["feedback"][0]["comment"] == "ok"
