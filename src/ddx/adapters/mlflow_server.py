"""The MLflow server that we start: its command, its environment, and one process of it.

`python -m ddx.adapters.mlflow_server mlflow server …` is `mlflow server …` without the second
process: MLflow's command loads everything, then starts uvicorn, which loads everything again
while the first one only waits. Here uvicorn runs where everything is loaded already: half the
time to be ready, half the memory, and one process to watch and to kill.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

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


_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_DEFAULT_PORT = {"http": 80, "https": 443}


def command(
    *, host: str, port: int, login: bool = False, tls: tuple[Path, Path] | None = None
) -> list[str]:
    """Return the command line of MLflow; the stores are in the environment, with passwords.

    `tls`: the files of its certificate and of the certificate's key.
    """
    opts = ["--no-access-log"]
    if tls is not None:
        opts += ["--ssl-certfile", str(tls[0]), "--ssl-keyfile", str(tls[1])]
    # One worker: with several and no uvloop, each call waits 43 ms for an acknowledgement.
    return [
        *(sys.executable, "-P", "-m", __name__),
        *("mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"),
        *("--no-serve-artifacts", "--uvicorn-opts", shlex.join(opts)),
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


def door(port: int, host: str = "", urls: Sequence[str] = ()) -> dict[str, str]:
    """Return what tells MLflow the names under which it may be asked: on this machine, as `host`
    where it listens there alone, and as `urls` say. No page of another site may have it change
    anything, or show it in a frame.

    Each value is said, also where it is MLflow's default: the user's environment must not open
    what is closed here. MLflow's own list of hosts has patterns for private networks, as `10.*`,
    which fit `10.evil.example` too.

    >>> door(5000)["MLFLOW_SERVER_ALLOWED_HOSTS"]
    '127.0.0.1:5000,localhost:5000,[::1]:5000'
    >>> door(5000, urls=["https://Mlflow.example"])["MLFLOW_SERVER_ALLOWED_HOSTS"]
    '127.0.0.1:5000,localhost:5000,[::1]:5000,mlflow.example,mlflow.example:443'
    """
    named = (f"[{host}]" if ":" in host else host.lower(),) if host else ()
    # A program leaves the port out where it is the scheme's own; a proxy may put it in.
    own = [f"{name}:{port}" for name in (*_LOOPBACK, *named)]
    hosts = dict.fromkeys([*own, *(name for url in urls for name in _names(url))])
    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "",
        "MLFLOW_SERVER_X_FRAME_OPTIONS": "SAMEORIGIN",
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "false",
    }


def _names(url: str) -> list[str]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    default = _DEFAULT_PORT[parts.scheme]
    port = parts.port or default
    return [*([host] if port == default else []), f"{host}:{port}"]


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
    _without_assistant()
    uvicorn.main(list(command[3:]))
    sys.exit()


def _without_assistant() -> None:
    """Take out the routes by which MLflow's pages let a coding agent run on this machine. They
    are open to whoever asks from it, and nothing switches them off.
    """
    with suppress(ImportError):
        from mlflow.server.assistant.api import assistant_router

        assistant_router.routes.clear()


if __name__ == "__main__":
    main()
