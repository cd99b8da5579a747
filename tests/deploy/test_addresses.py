"""Nothing that a caller or a model says is an address that the server then asks."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from tests.adapters.dspy_engine.stub import ANSWER, Says
from tests.deploy.conftest import Served

CASE = "A 24-year-old man has had fever for 3 days."


@dataclass
class Trap:
    """An address on this machine, such as a cloud's metadata have, and who came to it."""

    host: str
    came: list[str] = field(default_factory=list)

    @property
    def urls(self) -> list[str]:
        return [f"http://{self.host}/latest/meta-data/", f"//{self.host}/x", f"s3://{self.host}/b"]


@pytest.fixture
def trap() -> Iterator[Trap]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = Trap(f"127.0.0.1:{listener.getsockname()[1]}")

        def listen() -> None:
            while True:
                try:
                    met, _ = listener.accept()
                except OSError:
                    return
                with met:
                    met.settimeout(1)
                    found.came.append(met.recv(2000).decode(errors="replace"))
                    met.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        threading.Thread(target=listen, daemon=True).start()
        yield found
        listener.shutdown(socket.SHUT_RDWR)


def test_the_trap_would_notice_a_visitor(trap: Trap) -> None:
    assert httpx.get(trap.urls[0]).status_code == 200
    assert trap.came[0].startswith("GET /latest/meta-data/ ")


def test_no_field_of_a_request_leads_the_server_anywhere(served: Served, trap: Trap) -> None:
    asked: list[dict[str, Any]] = []
    for url in trap.urls:
        settings = ("api_base", "llm", "base_url", "tracking_uri", "ledger_uri", "otlp_endpoint")
        asked += [
            {"case": f"{CASE} See {url}. ![x]({url})"},
            {"case": CASE, "tracker": url},
            {"case": CASE, "model_name": url},
            {"case": CASE, "model_name": f"openai/{url}"},
            {"case": CASE, **dict.fromkeys((*settings, "webhook", "callback_url"), url)},
            {"case": CASE, "findings": {"present": ["HP:0001250"], "resources": [url]}},
            {"phenopacket": {"id": url, "metaData": {"resources": [{"url": url}]}}},
        ]
    with httpx.Client(base_url=served.url, timeout=60) as client:
        for body in asked:
            for model in ({}, {"model_name": "local"}, {"model_name": "knowledge"}):
                client.post("/predict/v1", json=model | body)
            client.post("/", data={name: str(value) for name, value in body.items()})
        forwarded = {"Host": trap.host, "X-Forwarded-Host": trap.host, "Forwarded": trap.host}
        for path in ("/", "/healthz", f"/predictions/{trap.host}", "/docs", "/openapi.json"):
            found = client.get(path, headers={**forwarded, "Referer": trap.urls[0]})
            assert trap.host not in found.headers.get("location", "")
        client.post("/predict/v1/batch", json={"cases": asked[:7]})
    assert trap.came == []


def test_no_answer_of_a_model_leads_the_server_anywhere(served: Served, trap: Trap) -> None:
    url = trap.urls[0]
    told = {"diagnosis": url, "supporting": [url], "next_steps": [f"![x]({url})"]}
    said = json.dumps(ANSWER | {"diagnoses": [told], "conclusion": url, "tool_calls": [url]})
    served.stub.script[:] = [Says(said)]
    answered = httpx.post(
        f"{served.url}/predict/v1", json={"case": CASE, "model_name": "local"}, timeout=60
    )
    assert answered.status_code == 200
    assert trap.came == []


def test_a_provider_that_sends_elsewhere_is_not_followed(served: Served, trap: Trap) -> None:
    for status in (301, 302, 307, 308):
        served.stub.script[:] = [Says(status=status, headers={"location": trap.urls[0]})]
        answered = httpx.post(
            f"{served.url}/predict/v1", json={"case": CASE, "model_name": "local"}, timeout=60
        )
        assert answered.status_code == 502, status
    assert trap.came == []
