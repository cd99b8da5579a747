"""No word of a patient in a log line, a metric, an error, a title or an address.

Canary words are put wherever a client, a clinician or a model can put words. They are then looked
for in everything that leaves the server beside the answer itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.adapters.dspy_engine.stub import ANSWER, Says
from tests.deploy.conftest import Served

CANARY = "Zebrawood"
CASE = f"Mrs {CANARY}, 34, has had fever for 3 days. She lives in {CANARY}."
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
JSON = {"content-type": "application/json"}
HOSTILE = {
    "user-agent": CANARY,
    "x-request-id": CANARY,
    "traceparent": f"00-{CANARY}",
    "referer": f"http://{CANARY}/",
    CANARY: CANARY,
}
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)
_ADDRESS = re.compile(r"""(?:href|src|action|formaction)=["']([^"']*)["']""")


@pytest.fixture(scope="module")
def replies(served: Served) -> list[httpx.Response]:
    """Everything that was answered to everything that was asked."""
    found: list[httpx.Response] = []

    def keep(reply: httpx.Response) -> None:
        reply.read()
        found.append(reply)

    with httpx.Client(
        base_url=served.url,
        timeout=120,
        headers=HOSTILE,
        event_hooks={"response": [keep]},
    ) as client:
        _predict(client, served)
        _wrong_bodies(client)
        _speak_of(client)
        _batches(client)
        _forms(client)
        _pages(client)
        _addresses(client)
        client.get("/metrics")
    assert {200, 202, 400, 404, 405, 415, 422, 502} <= {one.status_code for one in found}
    return found


def _predict(client: httpx.Client, served: Served) -> None:
    client.post("/predict/v1", json={"case": CASE, "tracker": CANARY})
    client.post("/predict/v1", json={"case": CASE, "model_name": CANARY, CANARY: CANARY})
    client.post("/predict/v1", json={"case": f"{CASE}!", "tracker": CANARY})
    subject = {"id": CANARY, "sex": "MALE"}
    seizure = {"type": {"id": "HP:0001250", "label": CANARY}}
    packet = {"id": CANARY, "subject": subject, "phenotypicFeatures": [seizure]}
    client.post("/predict/v1", json={"phenopacket": packet})
    local: dict[str, Any] = {"case": CASE, "model_name": "local"}
    told = {"diagnosis": f"{CANARY} fever", "supporting": [CANARY], "next_steps": [CANARY]}
    for says in (
        Says(json.dumps(ANSWER | {"diagnoses": [told], "conclusion": CANARY})),
        Says(json.dumps({"diagnoses": [], "sufficient": False, "conclusion": CANARY})),
        Says(f"I think that {CANARY} has dengue."),
        Says(json.dumps(ANSWER)[:60] + CANARY),
        Says(json.dumps({"diagnoses": CANARY, CANARY: [CANARY]})),
        Says(CANARY, cut=True),
        Says(status=400, error=CASE),
        Says(status=500, error=CASE, headers={"x-request-id": CANARY}),
    ):
        served.stub.script[:] = [says]
        client.post("/predict/v1", json=local)
        client.post("/predict/v1/stream", json=local)


def _wrong_bodies(client: httpx.Client) -> None:
    wrong: list[dict[str, Any]] = [
        {"case": [CANARY]},
        {"case": CASE, "prompt_version": CANARY},
        {"case": CASE, "temperature": CANARY},
        {"case": CASE, "tracker": [CANARY]},
        {"case": CASE, "tracker": CANARY * 50},
        {"case": CASE, "setting": CANARY},
        {"case": CASE, "findings": {"present": [CANARY]}},
        {"case": CASE, "findings": {"present": [], "sex": CANARY, "age": CANARY}},
        {"case": CASE, "findings": {CANARY: CANARY}},
        {"phenopacket": {CANARY: {CANARY: CANARY}}},
        {"phenopacket": {"id": CANARY, "phenotypicFeatures": [{"type": {"id": CANARY}}]}},
        {"phenopacket": CANARY},
    ]
    for path in ("/predict/v1", "/predict/v1/stream"):
        for body in wrong:
            client.post(path, json=body)
        client.post(path, content=f'{{"case": "{CANARY}', headers=JSON)
        client.post(path, content=f'{{"{CANARY}": }}', headers=JSON)
        client.post(path, content=CASE, headers={"content-type": f"text/{CANARY}"})
        client.post(path, content=CASE, headers={**JSON, "content-encoding": CANARY})
        client.post(path, json={"case": CASE}, headers={"idempotency-key": CANARY * 50})


def _speak_of(client: httpx.Client) -> None:
    id = client.post("/predict/v1", json={"case": CASE}).json()["prediction_id"]
    good: dict[str, Any] = {"outcome": "overridden", "true_diagnosis": CANARY, "comment": CANARY}
    for body in (
        good,
        {"feedback": [good]},
        {"outcome": CANARY},
        {"outcome": "accepted", "card": {CANARY: CANARY}, "acceptedSuggestions": CANARY},
        {"outcome": "accepted", "true_code": {CANARY: CANARY}},
        {"outcomeTimestamp": CANARY},
        {CANARY: CANARY},
        [CANARY],
    ):
        client.post(f"/predictions/{id}/feedback", json=body)
    client.post(f"/predictions/{CANARY}/feedback", json=good)
    client.get(f"/predictions/{id}")


def _batches(client: httpx.Client) -> None:
    cases = [{"case": CASE}, {"case": CASE, "model_name": CANARY, "tracker": f"{CANARY}-1"}]
    taken = client.post("/predict/v1/batch", json={"cases": cases}).json()
    give_up_at = time.monotonic() + 30
    while client.get(taken["status_url"]).json()["status"] != "done":
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    client.get(taken["results_url"])
    for wrong in ({"cases": [{"case": [CANARY]}]}, {"cases": CANARY}, {CANARY: 1}):
        client.post("/predict/v1/batch", json=wrong)
    lines = f'{{"case": "{CANARY}"}}\n{{"case": {CANARY}}}\n'
    client.post(
        "/predict/v1/batch", content=lines, headers={"content-type": "application/x-ndjson"}
    )


def _forms(client: httpx.Client) -> None:
    for fields in (
        {"case": CASE},
        {"case": CASE, "model_name": CANARY},
        {"case": CASE, "prompt_version": CANARY},
        {"case": CASE, "setting": CANARY, CANARY: CANARY},
        {"case": ""},
    ):
        client.post("/", data=fields)
    client.post("/", data={"case": CASE}, headers={"origin": f"http://{CANARY}"})
    client.post("/feedback", data={"prediction_id": CANARY, "comment": CANARY})
    id = client.post("/predict/v1", json={"case": CASE}).json()["prediction_id"]
    client.post("/feedback", data={"prediction_id": id, "comment": CANARY, "outcome": "accepted"})
    client.post("/feedback", data={"prediction_id": id, "outcome": CANARY})


def _pages(client: httpx.Client) -> None:
    id = client.post("/predict/v1", json={"case": CASE}).json()["prediction_id"]
    page = f"/dashboard/requests/{id}"
    client.get("/dashboard")
    client.get(page)
    client.post(f"{page}/replay", data={"model_name": "instant"})
    client.post(f"{page}/replay", data={"model_name": CANARY})
    client.get(f"{page}/mlflow")
    for path in (
        f"/dashboard?{CANARY}={CANARY}",
        f"/dashboard?range={CANARY}",
        f"/dashboard?since={CANARY}",
        f"/dashboard?by={CANARY}",
        f"/dashboard/charts/{CANARY}.svg",
        f"/dashboard/requests?id={CANARY}",
        f"/dashboard/requests/{CANARY}",
        f"/dashboard/requests/{CANARY}/mlflow",
    ):
        client.get(path)


def _addresses(client: httpx.Client) -> None:
    for path in (
        f"/{CANARY}",
        f"/?case={CANARY}&example={CANARY}",
        f"/predictions/{CANARY}",
        f"/predictions?tracker={CANARY}",
        f"/predictions?{CANARY}={CANARY}",
        f"/predictions?since={CANARY}",
        f"/predictions?before={CANARY}",
        f"/predictions?limit={CANARY}",
        f"/predict/v1/batch/{CANARY}",
        f"/predict/v1/batch/{CANARY}/results",
        f"/assets/{CANARY}/{CANARY}",
        f"/predict/v1?case={CANARY}",
        "/docs",
        "/readyz",
        "/healthz",
        "/health-status",
    ):
        client.get(path)
    client.request(CANARY.upper(), f"/{CANARY}")


def test_no_error_says_it(replies: list[httpx.Response]) -> None:
    refused = [one for one in replies if one.status_code >= 400]
    pages = [one for one in refused if "html" in one.headers.get("content-type", "")]
    assert len(refused) > 60
    for one in refused:
        if one not in pages:
            assert CANARY not in one.text, f"{one.request.method} {one.request.url}: {one.text}"
    for one in pages:
        # A form comes back filled as it was; what is said of its fault stands apart.
        alert = re.search(r'role="alert".*?</section>|role="alert".*?</div>', one.text, re.DOTALL)
        assert alert, one.text
        assert CANARY not in alert[0]


def test_no_error_within_a_stream_says_it(replies: list[httpx.Response]) -> None:
    streams = [one.text for one in replies if "event-stream" in one.headers.get("content-type", "")]
    errors = [part for text in streams for part in text.split("\n\n") if "event: error" in part]
    assert len(errors) >= 3
    assert not [one for one in errors if CANARY in one]


def nothing_around(page: str) -> None:
    """See that neither a page's title nor an address on it has the canary."""
    (title,) = _TITLE.findall(page)
    found = [one for one in (title, *_ADDRESS.findall(page)) if CANARY.lower() in one.lower()]
    assert found == []


def test_no_title_address_or_header_has_it(replies: list[httpx.Response]) -> None:
    pages = [one.text for one in replies if "html" in one.headers.get("content-type", "")]
    assert len(pages) > 5
    for page in pages:
        nothing_around(page)
    assert [one for one in replies if "location" in one.headers]
    for one in replies:
        assert CANARY.lower() not in str(one.headers).lower(), one.request.url


def test_no_metric_and_no_health_check_has_it(
    served: Served, replies: list[httpx.Response]
) -> None:
    for path in ("/metrics", "/readyz", "/health-status"):
        text = httpx.get(f"{served.url}{path}").text
        assert text
        assert CANARY.lower() not in text.lower()


@pytest.mark.usefixtures("replies")
def test_no_log_line_has_it_at_the_level_debug(served: Served) -> None:
    lines = served.lines()
    assert len(lines) > 100
    assert "debug" in {one["level"] for one in lines}
    assert CANARY.lower() not in served.log.lower()
    for word in ("34, has had", "fever for 3 days", "dengue", "local+", "Authorization"):
        assert word not in served.log


def test_each_log_line_of_a_request_has_its_id_and_the_traceparent_that_was_sent(
    served: Served,
) -> None:
    served.stub.script[:] = [Says(status=400)]
    body = {"case": CASE, "model_name": "local"}
    earlier = httpx.get(f"{served.url}/healthz").headers["x-request-id"]
    for path in ("/predict/v1", "/predict/v1/stream"):
        served.lines_of(earlier)
        before = len(served.lines())
        earlier = id = str(uuid.uuid4())
        sent = {"x-request-id": id, "traceparent": PARENT}
        reply = httpx.post(f"{served.url}{path}", json=body, headers=sent, timeout=120)
        assert reply.headers["x-request-id"] == id
        *_, finished, last = lines = served.lines_of(id)
        assert served.lines()[before:] == lines
        assert {one["traceparent"] for one in lines} == {PARENT}
        assert finished["event"] == "prediction_finished"
        assert (last["route"], last["prediction_id"]) == (path, reply.headers["x-prediction-id"])


@pytest.mark.parametrize(
    "parent", ["", "x", PARENT.upper(), PARENT + "-x", PARENT.replace("b7ad6b7169203331", "0" * 16)]
)
def test_an_id_or_a_traceparent_of_another_form_is_not_taken_over(
    served: Served, parent: str
) -> None:
    sent = {"x-request-id": "ward 7, bed 2", "traceparent": parent}
    reply = httpx.get(f"{served.url}/healthz", headers=sent)
    assert re.fullmatch(r"[0-9a-f]{32}", reply.headers["x-request-id"])
    (line,) = served.lines_of(reply.headers["x-request-id"])
    assert "traceparent" not in line


def test_the_deliverer_says_nothing_of_it_nor_do_the_dashboards_addresses(
    served: Served, replies: list[httpx.Response], empty_database: Path
) -> None:
    (served.home / "mlflow_data").mkdir(mode=0o700, exist_ok=True)
    shutil.copy(empty_database, served.home / "mlflow_data" / "mlflow.db")
    names = {"DDX_HOME": str(served.home), "DDX_DELIVERY": "bulk", "DDX_TRACING": "off"}
    done = subprocess.run(
        [sys.executable, "-m", "ddx", "deliver", "--once"],
        env={**os.environ, **names},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"delivered: [1-9]", done.stdout)
    assert CANARY not in done.stdout + done.stderr
    for line in done.stderr.splitlines():
        json.loads(line)
    give_up_at = time.monotonic() + 30
    while "model_error" not in (dashboard := httpx.get(f"{served.url}/dashboard", timeout=60).text):
        assert time.monotonic() < give_up_at  # an earlier look is kept for some seconds
        time.sleep(0.5)
    nothing_around(dashboard)
