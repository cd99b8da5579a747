"""What cannot work together is refused before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ddx.errors import SettingsError
from ddx.settings import oidc
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
    _check_claims(settings)
    for model in settings.models.values():
        if model.prompt is not None and model.prompt not in settings.prompts:
            raise SettingsError(f"model {model.name!r}: there is no prompt {model.prompt}")
        _check_fallback(settings, model)
    if settings.home.is_relative_to(settings.data.resolve()):
        raise SettingsError(
            f"data_dir must be a folder of its own: {settings.data} holds the project"
        )
    _check_master_key(settings)
    _check_tracing(settings)
    _check_tls(settings)
    oidc.check(settings)
    if settings.tracking_uri:
        check_address(settings.tracking_uri, "tracking_uri")
    _check_experiments(settings)
    if not settings.instance.replace("-", "").replace("_", "").isalnum():
        raise SettingsError("instance must be letters, digits, - and _")


def _check_experiments(settings: Settings) -> None:
    folder = settings.experiment_folder
    if folder and not settings.tracking_uri:
        raise SettingsError("experiment_folder is for the MLflow that tracking_uri names")
    if folder and not (folder.startswith("/") and folder.strip("/")):
        raise SettingsError("experiment_folder must be an absolute path, such as /Shared/ddx")


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


def _check_master_key(settings: Settings) -> None:
    sources = ("master_key_file", "master_key_env", "master_key_command")
    named = [name for name in sources if getattr(settings, name)]
    if len(named) > 1:
        raise SettingsError(f"{' and '.join(named)} are set: name the master key by one of them")
    file = settings.home / settings.master_key_file
    if settings.master_key_file and file.resolve().is_relative_to(settings.data.resolve()):
        raise SettingsError(
            "master_key_file must not be in data_dir: a backup would hold the key to itself"
        )


def _check_tracing(settings: Settings) -> None:
    if settings.tracing == "mlflow" and urlsplit(settings.mlflow_uri).scheme not in _HTTP:
        raise SettingsError('tracing = "mlflow" needs an MLflow server at http:// or https://')
    if settings.otlp_endpoint:
        parts = urlsplit(settings.otlp_endpoint)
        if parts.scheme not in _HTTP or not parts.hostname:
            raise SettingsError("otlp_endpoint must be an address such as http://127.0.0.1:4318")


def _check_tls(settings: Settings) -> None:
    for whose, ca in (("tls", "tls_client_ca_file"), ("mlflow_tls", "mlflow_tls_ca_file")):
        cert, key = f"{whose}_cert_file", f"{whose}_key_file"
        named = {name: getattr(settings, name) for name in (cert, key, ca)}
        if bool(named[cert]) != bool(named[key]):
            raise SettingsError(f"{cert} and {key} go together: set both, or neither")
        if named[ca] and not named[cert]:
            raise SettingsError(f"{ca} needs {cert} and {key}")
        for name, file in named.items():
            if file and not (settings.home / file).is_file():
                raise SettingsError(f"{name}: there is no file {file}")
    _check_mlflow_url(settings.mlflow_public_url)


def _check_mlflow_url(url: str) -> None:
    parts = urlsplit(url)
    if url and (parts.scheme not in _HTTP or not parts.hostname):
        raise SettingsError(
            "mlflow_public_url must be an address such as https://mlflow.example.org"
        )


def _check_claims(settings: Settings) -> None:
    if settings.journal == "memory" and (settings.workers > 1 or settings.claims_uri):
        raise SettingsError('journal = "memory" is of one process: no workers and no claims_uri')
    if settings.claims_uri and not settings.claims_uri.startswith("postgres"):
        raise SettingsError("claims_uri must be an address such as postgresql://ddx@host/ddx")
    named = settings.claims_key_file
    if named and not (settings.home / named).is_file():
        raise SettingsError(f"claims_key_file: there is no file {named}")


def _check_ports(settings: Settings) -> None:
    for name in ("port", "mlflow_port"):
        if not 1 <= getattr(settings, name) <= 65535:
            raise SettingsError(f"{name} must be a port from 1 to 65535")
        if getattr(settings, name) == 6000:
            raise SettingsError(f"{name} must not be 6000: browsers refuse that port")
    if settings.port == settings.mlflow_port and not settings.tracking_uri:
        raise SettingsError("port and mlflow_port must differ")
