"""What `ddx doctor` looks at, from the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ddx.adapters import database_facts, folders, processes
from ddx.adapters.delivery_state import DeliveryStatusReader
from ddx.adapters.sqlite_journal import SqliteJournalReader, find_journals
from ddx.adapters.system import free_bytes
from ddx.ports import Check
from ddx.services import doctor
from ddx.services.tracking_server import NAMES
from ddx.settings import Settings, mask_uri
from ddx.wiring import launch, mlflow_place, tracking_server


def looks(settings: Settings) -> dict[str, Callable[[], Check]]:
    """Return each look by its name. None is taken yet."""
    found: dict[str, Callable[[], Check]] = {"MLflow version": _mlflow_version}
    if launch.starts_mlflow(settings):
        found["MLflow"] = partial(_mlflow, settings)
        found["MLflow database"] = partial(_database, settings)
    else:
        asked = cache(partial(tracking_server.checks, settings))
        for name in NAMES:
            found[name] = partial(_foreign, asked, name)
    found["server"] = partial(_server, settings)
    found["modes"] = partial(_modes, settings)
    found["disk"] = partial(_disk, settings)
    for instance in find_journals(settings.data):
        found[f"journal {instance}"] = partial(_journal, settings, instance)
    found["backlog"] = partial(_backlog, settings)
    found["keys"] = partial(_keys, settings)
    return found


def _mlflow_version() -> Check:
    try:
        return doctor.mlflow_version(version("mlflow"))
    except PackageNotFoundError:
        return doctor.mlflow_version(None)


def _mlflow(settings: Settings) -> Check:
    host, port = settings.mlflow_host, settings.mlflow_port
    ready = partial(mlflow_place.missing, settings)
    return _port(settings, "MLflow", host, port, ready)


def _server(settings: Settings) -> Check:
    ready = partial(launch.not_ready, settings)
    return _port(settings, "server", settings.host, settings.port, ready)


def _port(
    settings: Settings, name: str, host: str, port: int, not_ready: Callable[[], str | None]
) -> Check:
    holder = processes.port_holder(host, port)
    pid = processes.listener(port) if holder else None
    ours = pid is not None and _is_ours(settings, pid)
    missing = not_ready() if ours else None
    return doctor.port(name, port, holder, ours=ours, missing=missing)


def _is_ours(settings: Settings, pid: int) -> bool:
    """Whether a process belongs to this installation, however it was started."""
    home, data = str(settings.home), str(settings.data)
    return (
        processes.environment_of(pid).get("DDX_HOME") == home
        or processes.folder_of(pid) == home
        or any(file.startswith(data) for file in processes.open_files(pid))
    )


def _foreign(asked: Callable[[], Sequence[Check]], name: str) -> Check:
    named = {check.name: check for check in asked()}
    return named.get(name) or Check(name=name, ok=True, found="cannot be asked yet")


def _database(settings: Settings) -> Check:
    file = launch.sqlite_file(settings)
    where = str(file) if file else mask_uri(settings.db_uri)
    exists = file is None or file.exists()
    if not exists:
        facts = database_facts.DatabaseFacts()
    elif file:
        facts = database_facts.sqlite_facts(file)
    else:
        facts = database_facts.server_facts(settings.db_uri)
    return doctor.database(
        exists=exists,
        trouble=facts.trouble,
        revision=facts.revision,
        where=where,
        file=file is not None,
    )


def _modes(settings: Settings) -> Check:
    database = launch.sqlite_file(settings)
    private = [*launch.private_folders(settings), *([database] if database else [])]
    private += [file for file in settings.data.rglob("*") if file.is_file()]
    return doctor.modes(folders.open_to_others(private))


def _disk(settings: Settings) -> Check:
    return doctor.disk(free_bytes(_existing(settings.data)), int(settings.disk_reserve_mb * 2**20))


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there already."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _journal(settings: Settings, instance: str) -> Check:
    with closing(SqliteJournalReader(settings.data, instance)) as reader:
        return doctor.journal(reader)


def _backlog(settings: Settings) -> Check:
    state = DeliveryStatusReader(settings.data)
    status = state.status()
    waiting = status.aside
    for instance in find_journals(settings.data):
        with closing(SqliteJournalReader(settings.data, instance)) as reader:
            waiting += reader.last_seq() - status.cursors.get(reader.journal_id, 0)
    return doctor.backlog(
        waiting=waiting,
        quarantined=status.quarantined,
        deliverer=state.holder(),
        error_code=status.error_code,
    )


def _keys(settings: Settings) -> Check:
    variables: dict[str, list[str]] = {}
    for model in settings.models.values():
        if model.api_key_env:
            variables.setdefault(model.api_key_env, []).append(model.name)
    return doctor.keys(
        variables, lambda name: bool(settings.environment.get(name)), settings.default_model
    )
