"""Which login MLflow has, where we start it, and how our own processes come in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ddx.adapters import mlflow_login
from ddx.adapters.mlflow_login import READER, USER
from ddx.adapters.mlflow_runs.reader import Reader
from ddx.errors import SettingsError, TrackerUnavailable
from ddx.settings import Settings

if TYPE_CHECKING:
    from ddx.adapters.reverse_proxy import ReverseProxy

_CA = "MLFLOW_TRACKING_SERVER_CERT_PATH"


def folder(settings: Settings) -> Path:
    """Return where the login is kept."""
    return settings.data / "mlflow_auth"


def for_mlflow(settings: Settings) -> dict[str, str]:
    """Return what MLflow is started with; nothing without `mlflow_secure`. Raises MissingExtra."""
    return mlflow_login.environment(folder(settings)) if settings.mlflow_secure else {}


def for_clients(settings: Settings) -> Mapping[str, str]:
    """Return what MLflow's clients read from the environment to trust it and to come in; nothing
    where MLflow is not ours, and no login where one of the user's own is there, or MLflow has none.
    """
    if settings.tracking_uri:
        return {}
    return {**_trust(settings), **_login(settings)}


def _trust(settings: Settings) -> Mapping[str, str]:
    if not settings.mlflow_tls_ca_file:
        return {}
    return {_CA: str(settings.home / settings.mlflow_tls_ca_file)}


def _login(settings: Settings) -> Mapping[str, str]:
    own = {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN"} & settings.environment.keys()
    word = mlflow_login.password(folder(settings)) if settings.mlflow_secure else None
    if own or word is None:
        return {}
    return {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": word}


def had_login(settings: Settings) -> bool:
    """Whether the MLflow of these data was started with its login before."""
    return not settings.tracking_uri and mlflow_login.password(folder(settings)) is not None


def come_in(settings: Settings) -> None:
    """Let this process's clients of MLflow in. Its library takes it from the environment alone."""
    os.environ.update(for_clients(settings))


def holds_readers(settings: Settings) -> bool:
    """Whether MLflow itself keeps those who may look from changing anything."""
    return settings.mlflow_secure and not settings.tracking_uri


def reader(settings: Settings) -> Reader:
    """Return MLflow's user for those who may look. Raises TrackerUnavailable."""
    words = [mlflow_login.password(folder(settings), user) for user in (USER, READER)]
    if words[0] is None or words[1] is None:
        raise TrackerUnavailable("MLflow was not started with its login yet")
    ca = for_clients(settings).get(_CA)
    return Reader(settings.mlflow_uri, (USER, words[0]), (READER, words[1]), ca)


def proxy(settings: Settings, *, looks_only: bool = False) -> ReverseProxy:
    """Return the way to MLflow for people; `looks_only` as the user that can change nothing.

    Raises MissingExtra, SettingsError.
    """
    if not settings.mlflow_uri.startswith(("http://", "https://")):
        raise SettingsError("MLflow has no pages at tracking_uri")
    from ddx.adapters.reverse_proxy import ReverseProxy

    known = {**settings.environment, **for_clients(settings)}
    user, word = known.get("MLFLOW_TRACKING_USERNAME"), known.get("MLFLOW_TRACKING_PASSWORD")
    if looks_only:
        user, word = READER, mlflow_login.password(folder(settings), READER)
    return ReverseProxy(settings.mlflow_uri, user, word, known.get(_CA))
