"""What cannot work together is refused before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ddx.errors import SettingsError
from ddx.settings.places import check_address
from ddx.settings.words import nearest

if TYPE_CHECKING:
    from ddx.core.registry import Model
    from ddx.settings.values import Settings


_HTTP = ("http", "https")


def check(settings: Settings) -> None:
    """Refuse what cannot work, before anything starts."""
    if settings.default_model not in settings.models:
        hint = nearest(settings.default_model, settings.models)
        raise SettingsError(f"default_model {settings.default_model!r} is not a model{hint}")
    choices = {
        "experiment_period": ("", "month"),
        "delivery": ("auto", "client", "bulk"),
        "journal": ("sqlite", "memory"),
        "privacy": ("off", "mask"),
        "tracing": ("off", "mlflow"),
        "log_level": ("debug", "info", "warning", "error"),
    }
    for name, allowed in choices.items():
        if getattr(settings, name) not in allowed:
            raise SettingsError(
                f"{name} must be one of {', '.join(one or 'empty' for one in allowed)}"
            )
    if settings.journal == "memory" and not settings.bench_models:
        raise SettingsError('journal = "memory" loses records; it needs bench_models = true')
    _check_ports(settings)
    for model in settings.models.values():
        if model.prompt is not None and model.prompt not in settings.prompts:
            raise SettingsError(f"model {model.name!r}: there is no prompt {model.prompt}")
        _check_fallback(settings, model)
    if settings.home.is_relative_to(settings.data.resolve()):
        raise SettingsError(
            f"data_dir must be a folder of its own: {settings.data} holds the project"
        )
    _check_tracing(settings)
    _check_tls(settings)
    if settings.tracking_uri:
        check_address(settings.tracking_uri, "tracking_uri")
    if not settings.instance.replace("-", "").replace("_", "").isalnum():
        raise SettingsError("instance must be letters, digits, - and _")


def _check_fallback(settings: Settings, model: Model) -> None:
    if model.fallback is None:
        return
    second = settings.models.get(model.fallback)
    if second is None:
        hint = nearest(model.fallback, settings.models)
        raise SettingsError(f"model {model.name!r}: fallback {model.fallback!r} is no model{hint}")
    if second.name == model.name or second.fallback is not None:
        raise SettingsError(
            f"model {model.name!r}: its fallback must be another model that has none itself"
        )


def _check_tracing(settings: Settings) -> None:
    if settings.tracing == "mlflow" and urlsplit(settings.mlflow_uri).scheme not in _HTTP:
        raise SettingsError('tracing = "mlflow" needs an MLflow server at http:// or https://')
    if settings.otlp_endpoint:
        parts = urlsplit(settings.otlp_endpoint)
        if parts.scheme not in _HTTP or not parts.hostname:
            raise SettingsError("otlp_endpoint must be an address such as http://127.0.0.1:4318")


def _check_tls(settings: Settings) -> None:
    if bool(settings.tls_cert_file) != bool(settings.tls_key_file):
        raise SettingsError("tls_cert_file and tls_key_file go together: set both, or neither")
    if settings.tls_client_ca_file and not settings.tls_cert_file:
        raise SettingsError("tls_client_ca_file needs tls_cert_file and tls_key_file")
    for name in ("tls_cert_file", "tls_key_file", "tls_client_ca_file"):
        named = getattr(settings, name)
        if named and not (settings.home / named).is_file():
            raise SettingsError(f"{name}: there is no file {named}")


def _check_ports(settings: Settings) -> None:
    for name in ("port", "mlflow_port"):
        if not 1 <= getattr(settings, name) <= 65535:
            raise SettingsError(f"{name} must be a port from 1 to 65535")
        if getattr(settings, name) == 6000:
            raise SettingsError(f"{name} must not be 6000: browsers refuse that port")
    if settings.port == settings.mlflow_port and not settings.tracking_uri:
        raise SettingsError("port and mlflow_port must differ")
