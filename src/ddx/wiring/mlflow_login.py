"""Which login MLflow has, where we start it, and how our own processes come in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ddx.adapters import mlflow_login
from ddx.errors import SettingsError
from ddx.settings import Settings

if TYPE_CHECKING:
    from ddx.adapters.reverse_proxy import ReverseProxy


def folder(settings: Settings) -> Path:
    """Return where the login is kept."""
    return settings.data / "mlflow_auth"


def for_mlflow(settings: Settings) -> dict[str, str]:
    """Return what MLflow is started with; nothing without `mlflow_secure`. Raises MissingExtra."""
    return mlflow_login.environment(folder(settings)) if settings.mlflow_secure else {}


def for_clients(settings: Settings) -> Mapping[str, str]:
    """Return what MLflow's clients read from the environment; nothing where a login of the user's
    own is there, MLflow is not ours, or has none.
    """
    own = {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN"} & settings.environment.keys()
    word = mlflow_login.password(folder(settings)) if settings.mlflow_secure else None
    if own or word is None or settings.tracking_uri:
        return {}
    return {"MLFLOW_TRACKING_USERNAME": mlflow_login.USER, "MLFLOW_TRACKING_PASSWORD": word}


def come_in(settings: Settings) -> None:
    """Let this process's clients of MLflow in. Its library takes it from the environment alone."""
    os.environ.update(for_clients(settings))


def proxy(settings: Settings) -> ReverseProxy:
    """Return the way to MLflow for people. Raises MissingExtra, SettingsError."""
    if not settings.mlflow_uri.startswith(("http://", "https://")):
        raise SettingsError("MLflow has no pages at tracking_uri")
    from ddx.adapters.reverse_proxy import ReverseProxy

    known = {**settings.environment, **for_clients(settings)}
    return ReverseProxy(
        settings.mlflow_uri,
        known.get("MLFLOW_TRACKING_USERNAME"),
        known.get("MLFLOW_TRACKING_PASSWORD"),
    )
