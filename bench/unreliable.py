"""A thousand requests to an LLM that fails three calls in ten, hangs, and turns callers away.

The stub is a process of its own that speaks OpenAI's chat completions; by the luck of its seed a
call is answered with HTTP 500 or cut in the middle (30 %), turned away with 429 and Retry-After
(10 %), left hanging (2 %), or answered. It counts what it was asked and what it billed. The server
is `ddx serve` with its journal; `ddx verify`'s own reader gives the records.

Each answer quotes the case once, and once something that is not in it.

    python -m bench.unreliable [--requests 1000] [--at-once 32]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Process, Queue
from pathlib import Path
from typing import Any

import httpx

from bench.load import free_port, process
from bench.tracking import QUIET
from ddx.adapters.sqlite_journal import SqliteJournalReader
from ddx.core.chain import Kind
from ddx.core.record import Failed

HANGS_S = 30.0
CALL_TIMEOUT_S = 2.0
INPUT, OUTPUT = 1000, 200
PRICE = {"input": 2.0, "output": 10.0}


def answer(case_number: str) -> str:
    """A differential with one quote from the case, and one that is invented."""
    entry = {
        "diagnosis": "Dengue fever",
        "likelihood": "High",
        "clinical_relevance": "Fever.",
        "lack_of_fit": "None.",
        "supporting": [f"fever number {case_number}", "a tattoo of a mosquito"],
        "contradicting": [],
        "urgency": "urgent",
        "next_steps": [],
    }
    return json.dumps({"diagnoses": [entry], "conclusion": "Fever.", "sufficient": True})


def serve_stub(port: int, seed: int, asked: Queue[str], told: Queue[dict[str, int]]) -> None:
    """The provider. Runs until it is asked for its count."""
    luck, lock, counts = random.Random(seed), threading.Lock(), Counter[str]()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            case = json.dumps(body["messages"])
            number = case.split("fever number ")[1].split(" ")[0].split(".")[0]
            with lock:
                drawn, which = luck.random(), luck.random()
                kind = _kind(drawn, which)
                counts[kind] += 1
                counts["asked"] += 1
                if kind == "answered":
                    counts["input"] += INPUT
                    counts["output"] += OUTPUT
            self.send(kind, number)

        def send(self, kind: str, number: str) -> None:
            if kind == "hung":
                time.sleep(HANGS_S)
                self.close_connection = True
                return
            if kind in ("failed", "turned_away"):
                status = 500 if kind == "failed" else 429
                self.reply(status, {"error": {"message": "no"}}, cut=False)
                return
            said = {"role": "assistant", "content": answer(number)}
            self.reply(
                200,
                {
                    "id": "x",
                    "object": "chat.completion",
                    "created": 1,
                    "model": "stub",
                    "choices": [{"index": 0, "finish_reason": "stop", "message": said}],
                    "usage": {
                        "prompt_tokens": INPUT,
                        "completion_tokens": OUTPUT,
                        "total_tokens": INPUT + OUTPUT,
                    },
                },
                cut=kind == "cut",
            )

        def reply(self, status: int, body: dict[str, Any], *, cut: bool) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            if status == 429:
                self.send_header("retry-after", "0.2")
            self.end_headers()
            self.wfile.write(raw[: len(raw) // 2] if cut else raw)
            if cut:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Provider(ThreadingHTTPServer):
        # With Python's five a connection is now and then lost, and a call is asked that none saw.
        request_queue_size = 128

    server = Provider(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    asked.get()
    told.put(dict(counts))


def _kind(drawn: float, which: float) -> str:
    if drawn < 0.30:
        return "failed" if which < 0.5 else "cut"
    if drawn < 0.40:
        return "turned_away"
    return "hung" if drawn < 0.42 else "answered"


@contextmanager
def stub(seed: int) -> Iterator[tuple[str, Queue[str], Queue[dict[str, int]]]]:
    port = free_port()
    asked: Queue[str] = Queue()
    told: Queue[dict[str, int]] = Queue()
    running = Process(target=serve_stub, args=(port, seed, asked, told), daemon=True)
    running.start()
    try:
        yield f"http://127.0.0.1:{port}/v1", asked, told
    finally:
        running.kill()


async def ask_all(url: str, requests: int, at_once: int) -> list[tuple[int, dict[str, Any]]]:
    free = asyncio.Semaphore(at_once)
    async with httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=at_once)) as to:

        async def one(number: int) -> tuple[int, dict[str, Any]]:
            case = f"A man of 24 has fever number {number}. He has a rash."
            async with free:
                reply = await to.post(f"{url}/predict/v1", json={"case": case})
            return reply.status_code, reply.json()

        return await asyncio.gather(*(one(number) for number in range(requests)))


def run(requests: int, at_once: int, seed: int = 7) -> bool:
    """Ask, and print what came of it. False where a line of it is not as it should be."""
    with tempfile.TemporaryDirectory(prefix="ddx-bench-") as folder, stub(seed) as (llm, ask, told):
        home, port = Path(folder), free_port()
        (home / "ddx.toml").write_text(
            f"default_model = 'stub'\nport = {port}\nlog_level = 'error'\n"
            f"tracking_uri = 'http://127.0.0.1:{free_port()}'\n"
            f"[models.stub]\nengine = 'dspy'\nllm = 'openai/stub'\napi_base = '{llm}'\n"
            f"timeout_s = 30\ncall_timeout_s = {CALL_TIMEOUT_S}\n"
            f"[prices.'openai/stub']\ninput = {PRICE['input']}\noutput = {PRICE['output']}\n"
        )
        address = f"http://127.0.0.1:{port}"
        serve = [sys.executable, "-m", "ddx", "serve", "--no-deliverer"]
        with process(
            serve, f"{address}/readyz", QUIET | {"DDX_HOME": str(home)}, home / "serve.log"
        ):
            began = time.perf_counter()
            replies = asyncio.run(ask_all(address, requests, at_once))
            took = time.perf_counter() - began
        ask.put("count")
        counts = told.get(timeout=10)
        kept = kept_in(home / "ddx_data")
        return report(replies, counts, kept, took, (home / "serve.log").read_text())


def kept_in(data: Path) -> list[Any]:
    """Every prediction of the journal."""
    reader = SqliteJournalReader(data, "main")
    try:
        events = reader.events(0, 1_000_000)
        ids = [event.prediction_id for event in events if event.kind is Kind.FINISHED]
        return list(reader.predictions(ids))
    finally:
        reader.close()


def report(
    replies: list[tuple[int, dict[str, Any]]],
    counts: dict[str, int],
    kept: list[Any],
    took: float,
    log: str,
) -> bool:
    n = len(replies)
    answered = sum(status == 200 for status, _ in replies)
    calls = [call for one in kept for call in one.completion.answer.calls]
    costs = sum(call.cost_usd or 0.0 for call in calls)
    bill = (counts["input"] * PRICE["input"] + counts["output"] * PRICE["output"]) / 1e6
    outcomes = [one.completion.answer.outcome for one in kept]
    quotes = [
        item["quote"]
        for status, body in replies
        if status == 200
        for found in body["data"]["result"]
        for item in found["supporting"]
    ]
    dropped = sum(one.completion.answer.unsupported_quotes for one in kept)
    print(f"{n} requests in {took:.0f} s; the stub: {counts}")
    print(f"answers by status: {dict(Counter(status for status, _ in replies))}")
    lines: dict[str, tuple[float, Callable[[float], bool]]] = {
        "answered, of 100": (100 * answered / n, lambda value: value >= 95),
        "requests without exactly one outcome": (abs(n - len(outcomes)), _none),
        "failures that were 200": (
            sum(
                isinstance(one.completion.answer.outcome, Failed) and one.completion.status == 200
                for one in kept
            ),
            _none,
        ),
        "attempts more or less than the stub's": (len(calls) - counts["asked"], _none),
        "input tokens more or less": (
            sum(call.input_tokens or 0 for call in calls) - counts["input"],
            _none,
        ),
        "output tokens more or less": (
            sum(call.output_tokens or 0 for call in calls) - counts["output"],
            _none,
        ),
        "dollars more or less": (round(costs - bill, 9), _none),
        "answers without their genuine quote": (answered - len(quotes), _none),
        "quotes that were invented": (sum("mosquito" in quote for quote in quotes), _none),
        "invented quotes not counted": (answered - dropped, _none),
        "cases in the log": (log.count("fever number"), _none),
    }
    good = True
    for name, (value, right) in lines.items():
        ok = right(value)
        good = good and ok
        print(f"{'ok  ' if ok else 'NOT '} {name}: {value:g}")
    return good


def _none(value: float) -> bool:
    return value == 0


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--requests", type=int, default=1000)
    options.add_argument("--at-once", type=int, default=32)
    asked = options.parse_args()
    sys.exit(0 if run(asked.requests, asked.at_once) else 1)


if __name__ == "__main__":
    main()
