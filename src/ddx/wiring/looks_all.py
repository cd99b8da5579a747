"""What `ddx doctor --all` looks at besides, from the settings."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ddx.adapters import certificates, http_probe, last_good
from ddx.adapters.mlflow_runs import probing
from ddx.adapters.sqlite_journal import SqliteJournalReader, find_journals
from ddx.adapters.system import SystemClock
from ddx.errors import IssuerUnavailable
from ddx.ports import Check
from ddx.services import doctor_all
from ddx.settings import Settings, mask_uri
from ddx.settings.stores import check_installed
from ddx.wiring import callers, launch, master_keys, mlflow_login, mlflow_place, tracking_server


def all_looks(settings: Settings) -> dict[str, Callable[[], Check]]:
    """Return each further look by its name. None is taken yet.

    One of them writes: a small file into the artifact store, or a small run where MLflow is
    somebody else's. It removes them.
    """
    found: dict[str, Callable[[], Check]] = {
        "clock": partial(_clock, settings),
        "write-ahead logs": partial(_logs, settings),
        "server's door": partial(_server_door, settings),
    }
    if settings.oidc_issuer:
        found["issuer of tokens"] = partial(_issuer, settings)
    if settings.tls_cert_file:
        found["certificate"] = partial(_certificate, settings)
    if settings.mlflow_tls_cert_file and launch.starts_mlflow(settings):
        found["MLflow's certificate"] = partial(_mlflow_certificate, settings)
    if launch.starts_mlflow(settings):
        found["MLflow's door"] = partial(_mlflow_door, settings)
        found["artifact store"] = partial(_artifacts, settings)
    else:
        found["trial run"] = partial(tracking_server.tried, settings)
    found["master key"] = partial(_master_key, settings)
    found["backups"] = partial(_backups, settings)
    return found


def _clock(settings: Settings) -> Check:
    newest = []
    for instance in find_journals(settings.data):
        with closing(SqliteJournalReader(settings.data, instance)) as journal:
            last = journal.last_seq()
            found = journal.chained(max(0, last - 1), 1)
            newest += [event.header.written_at_us / 1e6 for event in found]
    at = datetime.fromtimestamp(max(newest), UTC) if newest else None
    return doctor_all.clock(SystemClock().now(), at)


def _logs(settings: Settings) -> Check:
    folders = [settings.data, settings.data / "journals"]
    if (database := launch.sqlite_file(settings)) is not None:
        folders.append(database.parent)
    found = [file for folder in folders for file in folder.glob("*-wal")]
    return doctor_all.logs({file.name: file.stat().st_size for file in found})


def _certificate(settings: Settings) -> Check:
    ends = certificates.ends_at(settings.home / settings.tls_cert_file)
    return doctor_all.certificate("certificate", settings.tls_cert_file, ends, SystemClock().now())


def _mlflow_certificate(settings: Settings) -> Check:
    file = settings.mlflow_tls_cert_file
    return doctor_all.certificate(
        "MLflow's certificate",
        file,
        certificates.ends_at(settings.home / file),
        SystemClock().now(),
        doctor_all.AT_START,
    )


def _server_door(settings: Settings) -> Check:
    closed = callers.means_to_be_closed(settings)
    tls = bool(settings.tls_cert_file)
    ask = partial(http_probe.status, settings.host, settings.port, tls=tls)
    answers = {path: ask(path) for path in ("/predictions", "/dashboard", "/audit", "/mlflow/")}
    return doctor_all.doors("server's door", answers, closed=closed)


def _issuer(settings: Settings) -> Check:
    issuer = callers.issuer(settings)
    if issuer is None:
        raise ValueError("only asked where there is one")
    try:
        issuer.fetch()
    except IssuerUnavailable as error:
        return doctor_all.issuer(settings.oidc_issuer, 0, str(error))
    return doctor_all.issuer(settings.oidc_issuer, issuer.published, None)


def _mlflow_door(settings: Settings) -> Check:
    answers = {
        path: mlflow_place.status(settings, path)
        for path in ("/", "/ajax-api/2.0/mlflow/experiments/get?x=1")
    }
    closed = settings.mlflow_secure or mlflow_login.had_login(settings)
    return doctor_all.doors("MLflow's door", answers, closed=closed)


def _artifacts(settings: Settings) -> Check:
    uri = settings.artifacts_path
    check_installed(uri)
    if "://" not in uri:
        return doctor_all.artifacts(uri, _written(Path(uri)))
    return doctor_all.artifacts(mask_uri(uri), probing.trouble(uri))


def _written(folder: Path) -> str | None:
    if not folder.exists():
        return None  # the first `ddx up` makes it
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"ddx")
    except OSError as error:
        return f"cannot be written ({type(error).__name__})"
    return None


def _master_key(settings: Settings) -> Check:
    found = master_keys.status(settings)
    return doctor_all.master_key(
        source=found.source,
        plain=len(found.plain),
        wrapped=len(found.files) - len(found.plain),
        unfinished=len(found.unfinished),
        trouble=found.trouble,
    )


def _backups(settings: Settings) -> Check:
    return doctor_all.backups(last_good.read(settings.data), SystemClock().now())
