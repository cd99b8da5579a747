"""What `ddx up` runs, from the settings: MLflow, the server, the deliverer."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

from ddx.adapters import folders, http_probe, local_llm, mlflow_server, processes
from ddx.adapters.delivery_state import DeliveryStatusReader
from ddx.adapters.http_probe import listens, reachable
from ddx.adapters.system import SystemClock
from ddx.errors import AlreadyRunning, MissingExtra, ServerNotReady, SettingsError
from ddx.services.doctor import mlflow_version
from ddx.services.up import Child, Spec, Supervisor
from ddx.settings import Settings
from ddx.settings.stores import check_installed
from ddx.wiring import mlflow_login, mlflow_place

__all__ = [
    "LOCAL_LLM_WARNING",
    "alone",
    "ddx",
    "deliverer_beside",
    "environment",
    "listens",
    "port_holder",
    "prepare",
    "reachable",
    "starts_mlflow",
    "supervisor",
]
LOCAL_LLM_WARNING = local_llm.WARNING
PID_FILE = "up.pid"
_NEXT_TRY_S = 60.0
log = logging.getLogger("ddx")


def supervisor(
    settings: Settings, say: Callable[[str], None], *, local_llm: bool = False
) -> Supervisor:
    """Return the supervisor of this installation, its processes in the order of stopping.

    Raises MissingExtra and SettingsError where `local_llm` cannot be served.

    The server first, so that it drains; then the deliverer, which finishes what waits; then
    MLflow, which it delivers to.
    """
    specs = [_server(settings), *_deliverers(settings)]
    if starts_mlflow(settings):
        _check_mlflow()
        check_installed(settings.db_uri, settings.artifacts_path)
        specs.append(_mlflow(settings))
    else:
        check_installed(settings.tracking_uri)
    if local_llm:
        specs.append(_local_llm(settings))
    return Supervisor(specs, clock=SystemClock(), say=say)


def _check_mlflow() -> None:
    """Refuse to start an MLflow with known holes. Raises MissingExtra."""
    try:
        found = mlflow_version(version("mlflow"))
    except PackageNotFoundError:
        found = mlflow_version(None)
    if not found.ok:
        raise MissingExtra(f"MLflow will not be started ({found.found}). {found.advice}")


def starts_mlflow(settings: Settings) -> bool:
    """Whether MLflow is ours to start: no other tracking server is named."""
    return not settings.tracking_uri


def sqlite_file(settings: Settings) -> Path | None:
    """Return MLflow's SQLite file, or None where its database is elsewhere."""
    found = settings.db_uri.removeprefix("sqlite:///")
    return Path(found) if found != settings.db_uri else None


def artifact_folder(settings: Settings) -> Path | None:
    """Return the local folder of artifacts, or None where they are in an object store."""
    return None if "://" in settings.artifacts_path else Path(settings.artifacts_path)


def private_folders(settings: Settings) -> list[Path]:
    """Return the folders that hold records, the outer ones first."""
    database, artifacts = sqlite_file(settings), artifact_folder(settings)
    found = [settings.data, settings.data / "logs"]
    if starts_mlflow(settings):
        found += [database.parent] if database else []
        found += [artifacts] if artifacts else []
    # A database kept straight in the home must not close the whole home to others.
    return [folder for folder in dict.fromkeys(found) if folder != settings.home]


def prepare(settings: Settings) -> None:
    """Make the folders, private; begin the logs anew; make what follows private too."""
    os.umask(0o077)
    database = sqlite_file(settings)
    folders.make_private(private_folders(settings), [database] if database else [])
    for name in ("mlflow", "server", "deliverer", "local-llm"):
        folders.rotate(_log(settings, name))


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Be the one `ddx up` of this data folder, and keep this process's id in ddx_data/up.pid,
    for `ddx reset`. Raises AlreadyRunning, naming the other, before anything is touched.
    """
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = settings.data / PID_FILE
    # Not removed at the end: between two who lock it, it would be two files. It is emptied.
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = _pid_in(os.pread(fd, 100, 0))
            who = processes.said(other) if other else "another `ddx up`"
            raise AlreadyRunning(f"{who} runs on {settings.data}.") from error
        os.truncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid()}).encode(), 0)
        yield
        os.truncate(fd, 0)
    finally:
        os.close(fd)


def _pid_in(content: bytes) -> int | None:
    try:
        return int(json.loads(content)["pid"])
    except (ValueError, KeyError, TypeError):
        return None


@contextmanager
def deliverer_beside(settings: Settings, *, wanted: bool) -> Iterator[None]:
    """Keep the deliverers running, which share the journals out with any others."""
    if not wanted or settings.journal == "memory":
        yield
        return
    folders.make_private([settings.data, settings.data / "logs"], [])
    stopping = threading.Event()
    supervisor = Supervisor(_deliverers(settings), clock=SystemClock(), say=log.info)

    def keep() -> None:
        while not stopping.is_set():
            try:
                supervisor.run(lambda: None)
            except ServerNotReady as error:
                log.warning("no deliverer", extra={"event": "no_deliverer", "why": str(error)})
                stopping.wait(_NEXT_TRY_S)

    thread = threading.Thread(target=keep, name="deliverer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        supervisor.stop()
        thread.join()


def port_holder(host: str, port: int) -> str | None:
    """Say who holds a port; None where it is free."""
    return processes.port_holder(host, port)


def _server(settings: Settings) -> Spec:
    return Spec(
        name="server",
        start=partial(
            _start, settings, "server", ddx("serve", "--no-deliverer"), environment(settings)
        ),
        waits_for=partial(not_ready, settings),
        holder=partial(processes.port_holder, settings.host, settings.port),
        last_words=partial(folders.last_lines, _log(settings, "server")),
        stop_within_s=settings.shutdown_grace_s + 10,
    )


def not_ready(settings: Settings) -> str | None:
    """Say what the server lacks to take requests, None where it takes them."""
    if settings.tls_client_ca_file:
        # It answers only who has a certificate; that it listens must do.
        return None if listens(settings.server_url) else "it does not listen"
    tls = bool(settings.tls_cert_file)
    return http_probe.missing(settings.host, settings.port, "/readyz", tls=tls)


def _deliverers(settings: Settings) -> list[Spec]:
    names = ["deliverer", *(f"deliverer-{n}" for n in range(2, settings.deliverers + 1))]
    return [_deliverer(settings, name) for name in names]


def _deliverer(settings: Settings, name: str) -> Spec:
    return Spec(
        name=name,
        start=partial(
            _start,
            settings,
            name,
            ddx("deliver", "--beside", str(os.getpid())),
            environment(settings),
            ends_by_itself=True,
        ),
        waits_for=partial(_no_deliverer, settings),
        last_words=partial(folders.last_lines, _log(settings, name)),
        stop_within_s=15,
    )


def _no_deliverer(settings: Settings) -> str | None:
    running = DeliveryStatusReader(settings.data).holder() is not None
    return None if running else "it has not begun to deliver"


def _mlflow(settings: Settings) -> Spec:
    host, port = settings.mlflow_host, settings.mlflow_port
    its_own = mlflow_server.environment(
        environment(settings),
        db_uri=settings.db_uri,
        artifacts_path=settings.artifacts_path,
        without=[*_secret_variables(settings)],
    )
    return Spec(
        name="MLflow",
        start=partial(
            _start,
            settings,
            "mlflow",
            mlflow_server.command(
                host=host,
                port=port,
                login=settings.mlflow_secure,
                tls=mlflow_place.tls(settings),
            ),
            {**its_own, **mlflow_place.door(settings), **mlflow_login.for_mlflow(settings)},
        ),
        waits_for=partial(mlflow_place.missing, settings),
        holder=partial(processes.port_holder, host, port),
        last_words=partial(folders.last_lines, _log(settings, "mlflow")),
        stop_within_s=15,
    )


def _secret_variables(settings: Settings) -> Iterator[str]:
    """Yield the variables that are none of MLflow's business."""
    yield from (model.api_key_env for model in settings.models.values() if model.api_key_env)
    if settings.master_key_env:
        yield settings.master_key_env


def _local_llm(settings: Settings) -> Spec:
    """Serve the small model where the registry's `local` is asked."""
    lacking = local_llm.missing()
    if lacking:
        raise MissingExtra(f"--local-llm needs {lacking}: {local_llm.INSTALL}")
    model = settings.models.get("local")
    address = urlsplit(model.api_base or "") if model else None
    if address is None or address.hostname != "127.0.0.1" or address.port is None:
        raise SettingsError(
            "--local-llm serves at the api_base of [models.local], which must be on 127.0.0.1"
        )
    port = address.port
    return Spec(
        name="local model",
        start=partial(
            _start, settings, "local-llm", local_llm.command(port), environment(settings)
        ),
        waits_for=partial(http_probe.missing, "127.0.0.1", port, "/health"),
        holder=partial(processes.port_holder, "127.0.0.1", port),
        last_words=partial(folders.last_lines, _log(settings, "local-llm")),
        stop_within_s=5,
    )


def ddx(*words: str) -> list[str]:
    """Return the command line of one of our commands."""
    # -P: a file of the user's beside the settings must not stand in for a library.
    return [sys.executable, "-P", "-m", "ddx", *words]


def _start(
    settings: Settings,
    name: str,
    command: list[str],
    environment: dict[str, str],
    *,
    ends_by_itself: bool = False,
) -> Child:
    return processes.Process(
        command,
        environment=environment,
        folder=settings.home,
        log=_log(settings, name),
        ends_by_itself=ends_by_itself,
    )


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of each process: what this one runs with, said explicitly."""
    return {
        **settings.environment,
        **mlflow_server.QUIET,
        **mlflow_login.for_clients(settings),
        "DDX_HOME": str(settings.home),
        "DDX_HOST": settings.host,
        "DDX_PORT": str(settings.port),
        "DDX_WORKERS": str(settings.workers),
        "DDX_MLFLOW_PORT": str(settings.mlflow_port),
        "DDX_MLFLOW_SECURE": "1" if settings.mlflow_secure else "0",
        "PYTHONUNBUFFERED": "1",
    }


def _log(settings: Settings, name: str) -> Path:
    return settings.data / "logs" / f"{name}.log"
