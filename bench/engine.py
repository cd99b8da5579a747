"""What asking an LLM costs beside the model's own time.

A stub in a process of its own answers OpenAI's chat completions at once with a fixed differential.
One after the other: a bare HTTP call, a plain `dspy.Predict`, our engine, and the whole prediction
(engine, journal with its two syncs, checks, reply) as a request to `ddx serve`. Then calls a second
in 8 and in 32 threads: the bare call, the plain `dspy.Predict`, our engine. Rounds alternate, so
that a ratio holds on a busy machine.

    python -m bench.engine [--calls 300] [--rounds 3] [--profile]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bench.load import CASE, fdatasync_ms, free_port, process
from bench.tracking import QUIET
from ddx.adapters.dspy_engine import DspyEngine
from ddx.core.record import Answered, Request
from ddx.core.registry import EngineKind, Model, PromptConfig

STUB = """
import asyncio, json
ANSWER = json.dumps({"diagnoses": [{"diagnosis": "Dengue fever", "likelihood": "High",
    "clinical_relevance": "Fever.", "lack_of_fit": "None.", "supporting": ["fever for 3 days"],
    "contradicting": [], "urgency": "urgent", "next_steps": []}], "conclusion": "Fever.",
    "reasoning": "Fever.", "further_questions": [], "missing_information": [],
    "sufficient": True})
BODY = json.dumps({"id": "x", "object": "chat.completion", "created": 1, "model": "stub",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": ANSWER}}],
    "usage": {"prompt_tokens": 900, "completion_tokens": 150, "total_tokens": 1050}}).encode()
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": BODY})
"""


@contextmanager
def stub(folder: Path) -> Iterator[str]:
    """A provider that answers at once; yields its address."""
    (folder / "instant_llm.py").write_text(STUB)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "instant_llm:app", "--port", str(port)]
    quiet = {"PYTHONPATH": str(folder)}
    address = f"http://127.0.0.1:{port}"
    with process(
        [*command, "--log-level", "error", "--no-access-log"],
        f"{address}/ready",
        quiet,
        folder / "stub.log",
    ):
        yield f"{address}/v1"


def bare(llm: str, body: dict[str, Any]) -> Callable[[], None]:
    client = httpx.Client(timeout=30, limits=httpx.Limits(max_connections=64))

    def call() -> None:
        client.post(f"{llm}/chat/completions", json=body).raise_for_status().json()

    return call


def plain_dspy(llm: str) -> Callable[[], None]:
    import dspy

    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    lm = dspy.LM("openai/stub", api_base=llm, api_key="none", cache=False)
    predict = dspy.Predict("case -> diagnoses: list[dict], conclusion")

    def call() -> None:
        with dspy.context(lm=lm, adapter=dspy.JSONAdapter(), disable_history=True):
            predict(case=CASE)

    return call


def our_engine(llm: str) -> tuple[Callable[[], None], DspyEngine]:
    model = Model(
        name="stub",
        engine=EngineKind.DSPY,
        llm="openai/stub",
        api_base=llm,
        temperature=0.7,
        max_tokens=2000,
        prompt=1,
    )
    prompts = {1: PromptConfig(index=1, name="one", text="Think of common things first.")}
    engine = DspyEngine(model=model, prompts=prompts, threads=32)
    engine.warm()
    request = Request(model_name="stub", case=CASE)

    def call() -> None:
        answer = asyncio.run(engine.ask(request, 30))
        assert isinstance(answer.outcome, Answered)

    return call, engine


@contextmanager
def whole_server(folder: Path, llm: str) -> Iterator[Callable[[], None]]:
    port = free_port()
    home = folder / "home"
    home.mkdir()
    (home / "ddx.toml").write_text(
        f"default_model = 'stub'\nport = {port}\nlog_level = 'error'\n"
        f"tracking_uri = 'http://127.0.0.1:{free_port()}'\n"
        f"[models.stub]\nengine = 'dspy'\nllm = 'openai/stub'\napi_base = '{llm}'\n"
    )
    address = f"http://127.0.0.1:{port}"
    serve = [sys.executable, "-m", "ddx", "serve", "--no-deliverer"]
    environment = QUIET | {"DDX_HOME": str(home)}
    client = httpx.Client(timeout=30)

    def call() -> None:
        client.post(f"{address}/predict/v1", json={"case": CASE}).raise_for_status()

    with process(serve, f"{address}/readyz", environment, home / "serve.log"):
        yield call


def one_by_one(call: Callable[[], None], calls: int) -> list[float]:
    """Seconds of each call."""
    taken = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return taken


def per_second(call: Callable[[], None], threads: int, calls: int) -> float:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: call(), range(threads)))
        began = time.perf_counter()
        list(pool.map(lambda _: call(), range(calls)))
        return calls / (time.perf_counter() - began)


def engine_per_second(engine: DspyEngine, at_once: int, calls: int) -> float:
    """Our engine as the server drives it: one loop, its own threads."""
    request = Request(model_name="stub", case=CASE)

    async def drive() -> float:
        free = asyncio.Semaphore(at_once)

        async def one() -> None:
            async with free:
                await engine.ask(request, 30)

        await asyncio.gather(*(one() for _ in range(at_once)))
        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(calls)))
        return calls / (time.perf_counter() - began)

    return asyncio.run(drive())


def ms(taken: list[float], at: int) -> float:
    return statistics.quantiles(taken, n=100)[at - 1] * 1000


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--calls", type=int, default=300)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--profile", action="store_true")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="ddx-bench-") as name:
        folder = Path(name)
        with stub(folder) as llm, whole_server(folder, llm) as server:
            measure(folder, llm, server, asked.calls, asked.rounds)
            if asked.profile:
                show_profile(our_engine(llm)[0])


def measure(folder: Path, llm: str, server: Callable[[], None], calls: int, rounds: int) -> None:
    ours, engine = our_engine(llm)
    plain = plain_dspy(llm)
    said = [{"role": "user", "content": CASE}]
    ways = {
        "bare HTTP": bare(llm, {"model": "stub", "messages": said}),
        "dspy.Predict": plain,
        "our engine": ours,
        "ddx serve": server,
    }
    for call in ways.values():
        one_by_one(call, 20)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    speeds: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for name, call in ways.items():
            taken[name] += one_by_one(call, calls)
        for threads in (8, 32):
            for name in ("bare HTTP", "dspy.Predict"):
                speeds.setdefault((name, threads), []).append(
                    per_second(ways[name], threads, calls)
                )
            speeds.setdefault(("our engine", threads), []).append(
                engine_per_second(engine, threads, calls)
            )
    print(f"one fdatasync of 10 kB: {fdatasync_ms(folder):.2f} ms; n = {calls * rounds} each")
    print("one after the other       p50 ms   p95 ms")
    for name, found in taken.items():
        print(f"{name:24} {ms(found, 50):>7.2f} {ms(found, 95):>8.2f}")
    over = ms(taken["ddx serve"], 50) - ms(taken["bare HTTP"], 50)
    print(f"the whole prediction is {over:.1f} ms over the bare call at p50 (to reach: 20)")
    for threads in (8, 32):
        medians = {
            name: statistics.median(speeds[name, threads])
            for name in ("bare HTTP", "dspy.Predict", "our engine")
        }
        ratio = medians["our engine"] / medians["dspy.Predict"]
        print(
            f"{threads:>2} threads, calls a second: "
            + ", ".join(f"{name} {value:.0f}" for name, value in medians.items())
            + f"; ours {ratio:.2f} x dspy.Predict (to reach: 0.7)"
        )


def show_profile(call: Callable[[], None]) -> None:
    import threading

    profile = cProfile.Profile()
    threading.setprofile(lambda *_: profile.enable())
    one_by_one(call, 50)
    threading.setprofile(None)
    profile.disable()
    pstats.Stats(profile).sort_stats("cumtime").print_stats(30)


if __name__ == "__main__":
    main()
