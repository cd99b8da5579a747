"""Where the MLflow that we start is, and whether it answers."""

from __future__ import annotations

from pathlib import Path

from ddx.adapters import http_probe, mlflow_server
from ddx.settings import Settings


def missing(settings: Settings, path: str = "/health") -> str | None:
    """Return None where MLflow answers 200, else a few words on what it does.

    No secret is sent, so whatever certificate it has will do, as for our own server.
    """
    return http_probe.missing(
        settings.mlflow_host, settings.mlflow_port, path, tls=bool(settings.mlflow_tls_cert_file)
    )


def status(settings: Settings, path: str) -> int | None:
    """Return what MLflow answers, None where nothing does."""
    return http_probe.status(
        settings.mlflow_host, settings.mlflow_port, path, tls=bool(settings.mlflow_tls_cert_file)
    )


def tls(settings: Settings) -> tuple[Path, Path] | None:
    """Return the files of its certificate and key, None where it speaks no TLS."""
    if not settings.mlflow_tls_cert_file:
        return None
    return (
        settings.home / settings.mlflow_tls_cert_file,
        settings.home / settings.mlflow_tls_key_file,
    )


def door(settings: Settings) -> dict[str, str]:
    """Return what tells MLflow under which names it may be asked."""
    urls = [settings.mlflow_uri, settings.mlflow_public_url]
    host = "" if http_probe.is_everywhere(settings.mlflow_host) else settings.mlflow_host
    return mlflow_server.door(settings.mlflow_port, host, [url for url in urls if url])
