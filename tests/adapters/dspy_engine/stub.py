"""A provider on this machine that speaks OpenAI's chat completions and does as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWER = {
    "reasoning": "…",
    "diagnoses": [
        {
            "diagnosis": "Dengue fever",
            "likelihood": "High",
            "clinical_relevance": "Fever and rash.",
            "lack_of_fit": "None.",
            "supporting": ["fever for 3 days", "bleeding gums"],
            "contradicting": [],
            "urgency": "urgent",
            "next_steps": ["NS1 antigen"],
        }
    ],
    "conclusion": "A febrile illness.",
    "further_questions": ["Travel?"],
    "missing_information": [],
    "sufficient": True,
}


@dataclass
class Says:
    """One reply."""

    text: str = json.dumps(ANSWER)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    error: str = "no"
    finish_reason: str = "stop"
    cut: bool = False
    """Close the connection in the middle of the body."""


@dataclass
class Provider:
    """The stub: what it was sent, and what it says next (the last for ever)."""

    url: str = ""
    script: list[Says] = field(default_factory=lambda: [Says()])
    bodies: list[dict[str, Any]] = field(default_factory=list)
    decide: Callable[[dict[str, Any]], Says] | None = None

    def next(self, body: dict[str, Any]) -> Says:
        self.bodies.append(body)
        if self.decide is not None:
            return self.decide(body)
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


@contextmanager
def provider() -> Iterator[Provider]:
    stub = Provider()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            says = stub.next(json.loads(self.rfile.read(length)))
            time.sleep(says.wait_s)
            if says.status == 200:
                body: dict[str, Any] = {
                    "id": "chatcmpl-1",
                    "object": "chat.completion",
                    "created": 1,
                    "model": "stub-1",
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": says.finish_reason,
                            "message": {"role": "assistant", "content": says.text},
                        }
                    ],
                    "usage": {
                        "prompt_tokens": 100,
                        "completion_tokens": 20,
                        "total_tokens": 120,
                    },
                }
            else:
                body = {"error": {"message": says.error, "type": "stub"}}
            raw = json.dumps(body).encode()
            self.send_response(says.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.send_header("x-request-id", "req-7")
            for name, value in says.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw[: len(raw) // 2] if says.cut else raw)
            if says.cut:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
