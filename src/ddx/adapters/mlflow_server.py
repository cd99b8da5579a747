"""The MLflow server that we start: its command, its environment, and one process of it.

`python -m ddx.adapters.mlflow_server mlflow server …` is `mlflow server …` without the second
process: MLflow's command loads everything, then starts uvicorn, which loads everything again
while the first one only waits. Here uvicorn runs where everything is loaded already: half the
time to be ready, half the memory, and one process to watch and to kill.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

QUIET = {
    # Offline, litellm's fetch of its price map at import can hang for ever.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    # The job runner starts a dozen processes and 3 GiB that nothing here uses.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
"""For every process that we start. ddx_environment.pth sets some for the user's own."""


def command(*, host: str, port: int, login: bool = False) -> list[str]:
    """Return the command line of MLflow; the stores are in the environment, with passwords."""
    # One worker: with several and no uvloop, each call waits 43 ms for an acknowledgement.
    return [
        *(sys.executable, "-P", "-m", __name__),
        *("mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"),
        *("--no-serve-artifacts", "--uvicorn-opts", "--no-access-log"),
        *(("--app-name", "basic-auth") if login else ()),
    ]


def environment(
    base: Mapping[str, str], *, db_uri: str, artifacts_path: str, without: Sequence[str] = ()
) -> dict[str, str]:
    """Return the environment of MLflow: `base` without the keys of models, and its stores."""
    stores = {
        "MLFLOW_BACKEND_STORE_URI": db_uri,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": artifacts_path,
    }
    if db_uri.startswith("sqlite:"):
        # More than 15 calls at once deadlock its pool of connections.
        stores["MLFLOW_SQLALCHEMYSTORE_POOLCLASS"] = "NullPool"
    kept = {name: value for name, value in base.items() if name not in without}
    return {**kept, **QUIET, **stores}


def main() -> None:
    """Run `mlflow` with the arguments that follow the word, in this process alone."""
    import mlflow.server
    from mlflow.cli import cli

    if not hasattr(mlflow.server, "_exec_cmd"):  # a future MLflow: then it starts its child
        sys.exit(cli(sys.argv[2:]))
    mlflow.server._exec_cmd = _run_here  # noqa: SLF001
    cli(sys.argv[2:])


def _run_here(command: Sequence[str], *, extra_env: Mapping[str, str], **_: object) -> NoReturn:
    """Stand in for MLflow's start of `python -m uvicorn …`."""
    import uvicorn

    os.environ.update(extra_env)
    uvicorn.main(list(command[3:]))
    sys.exit()


if __name__ == "__main__":
    main()
