"""Files and environment to one frozen value; the only reader of the environment.

A value comes from its default, then `ddx.toml`, then a `DDX_*` variable. The tracking server's
two values come from `mlflow_server_config.py`. Relative paths are relative to the folder that
holds these files: the home.
"""

from __future__ import annotations

import os
import runpy
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from ddx.core.registry import EngineKind, Model, PromptConfig
from ddx.errors import SettingsError

TOML_NAME = "ddx.toml"
MLFLOW_NAME = "mlflow_server_config.py"
_MASK = "********"


def _setting(default: Any, about: str, *, secret: bool = False) -> Any:
    return field(default=default, metadata={"about": about, "secret": secret})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set. Each field is a key of ddx.toml and a DDX_ variable."""

    host: str = _setting("127.0.0.1", "address the server listens on")
    port: int = _setting(8000, "port of the server")
    mlflow_host: str = _setting("127.0.0.1", "address MLflow listens on, where we start it")
    mlflow_port: int = _setting(5000, "port of MLflow, where we start it")
    tracking_uri: str = _setting("", "MLflow to deliver to; empty: the one that we start")
    delivery: str = _setting("auto", "door into MLflow: auto, client or bulk")
    data_dir: str = _setting("ddx_data", "folder of journals, keys and delivery state")
    checkpoints_dir: str = _setting(
        "ddx_data/checkpoints", "folder of signed checkpoints of the journals; best on another disk"
    )
    instance: str = _setting("main", "name of this server process; each has its own journal")
    default_model: str = _setting("knowledge", "model of a request that names none")
    journal: str = _setting("sqlite", "sqlite, or memory (benchmarks only)")
    bench_models: bool = _setting(False, "allow the model `instant` and the journal `memory`")
    max_body_bytes: int = _setting(768 * 1024, "largest request body")
    body_timeout_s: float = _setting(30.0, "time for a request body to arrive")
    max_running: int = _setting(256, "predictions under way at once; more get 503")
    engine_threads: int = _setting(32, "threads that wait for LLMs")
    shutdown_grace_s: float = _setting(20.0, "time for running requests at shutdown")
    max_backlog_mb: float = _setting(2048.0, "undelivered journal bytes before 503, in MiB")
    max_backlog_age_s: float = _setting(604800.0, "age of the oldest undelivered record before 503")
    disk_reserve_mb: float = _setting(256.0, "free disk below which requests get 503, in MiB")
    mondo_url: str = _setting(
        "https://github.com/monarch-initiative/mondo/releases/latest/download",
        "where `ddx knowledge update` finds mondo.obo",
    )
    hpo_url: str = _setting(
        "https://github.com/obophenotype/human-phenotype-ontology/releases/latest/download",
        "where `ddx knowledge update` finds hp.obo and phenotype.hpoa",
    )
    log_level: str = _setting("info", "debug, info, warning or error")

    home: Path = field(default_factory=Path.cwd)
    """The folder of the settings files; relative paths start here."""
    db_uri: str = "sqlite:///mlflow_data/mlflow.db"
    """MLflow's backend store, with absolute paths."""
    artifacts_path: str = "mlflow_data/artifacts"
    """MLflow's artifact root: an absolute path or an object-store URI."""
    models: Mapping[str, Model] = field(default_factory=dict)
    prompts: Mapping[int, PromptConfig] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each value came from."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The environment as read, for the keys that models name."""

    @property
    def data(self) -> Path:
        """The data folder, absolute."""
        return self.home / self.data_dir

    @property
    def mlflow_uri(self) -> str:
        """Where clients reach MLflow."""
        return self.tracking_uri or f"http://{self.mlflow_host}:{self.mlflow_port}"

    @property
    def server_url(self) -> str:
        """Where clients reach this server."""
        return f"http://{self.host}:{self.port}"

    def api_key(self, model: Model) -> str | None:
        """Return the model's key, or None where it needs none or has none."""
        return self.environment.get(model.api_key_env or "") or None

    def shown(self) -> list[tuple[str, Any, str]]:
        """Return (name, value, origin) of each setting, secrets masked, for people."""
        rows = [
            (f.name, _MASK if f.metadata["secret"] else getattr(self, f.name)) for f in _settable()
        ]
        rows += [
            ("db_uri", mask_uri(self.db_uri)),
            ("artifacts_path", mask_uri(self.artifacts_path)),
        ]
        return [(name, value, self.origins.get(name, "default")) for name, value in rows]


def load(environment: Mapping[str, str] | None = None, home: Path | None = None) -> Settings:
    """Read the settings in force. Raises SettingsError, naming the file and the key."""
    env = dict(os.environ) if environment is None else dict(environment)
    root = (home or find_home(env)).resolve()
    toml_path, mlflow_path = root / TOML_NAME, root / MLFLOW_NAME
    table = _read_toml(toml_path) if toml_path.is_file() else {}
    models_table = table.pop("models", {})
    prompts_table = table.pop("prompts", {})
    values, origins = _scalars(table, env)
    db_uri, artifacts_path = "sqlite:///mlflow_data/mlflow.db", "mlflow_data/artifacts"
    if mlflow_path.is_file():
        found = _read_mlflow_config(mlflow_path)
        db_uri = found.get("db_uri", db_uri)
        artifacts_path = found.get("artifacts_path", artifacts_path)
        origins |= dict.fromkeys(found, MLFLOW_NAME)
    settings = Settings(
        **values,
        home=root,
        db_uri=_absolute_db(db_uri, root),
        artifacts_path=_absolute_artifacts(artifacts_path, root),
        models=_models(models_table),
        prompts=_prompts(prompts_table),
        origins=origins,
        environment=env,
    )
    _check(settings)
    return settings


def find_home(env: Mapping[str, str]) -> Path:
    """Return DDX_HOME, or the nearest folder from here upwards that has a settings file."""
    if named := env.get("DDX_HOME"):
        return Path(named)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / TOML_NAME).is_file() or (folder / MLFLOW_NAME).is_file():
            return folder
    return here


def mask_uri(uri: str) -> str:
    """Hide the password of a URI.

    >>> mask_uri("postgresql://ddx:s3cret@db/mlflow")
    'postgresql://ddx:********@db/mlflow'
    """
    scheme, separator, rest = uri.partition("://")
    user, at, place = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    return f"{scheme}{separator}{name}:{_MASK}@{place}" if at and colon else uri


# --- the two files and the environment --------------------------------------------------


def _settable() -> list[Field[Any]]:
    return [f for f in fields(Settings) if "about" in f.metadata]


def about() -> list[tuple[str, Any, str]]:
    """Return (name, default, description) of each setting, for the reference page."""
    return [(f.name, f.default, f.metadata["about"]) for f in _settable()]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name} is not valid TOML: {error}") from error


def _scalars(
    table: Mapping[str, Any], env: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    known = {f.name: f for f in _settable()}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, raw in table.items():
        if name not in known:
            raise SettingsError(f"{TOML_NAME} has an unknown key {name!r}{_nearest(name, known)}")
        values[name], origins[name] = _typed(known[name], raw, TOML_NAME), TOML_NAME
    for variable, raw in env.items():
        if not variable.startswith("DDX_") or variable == "DDX_HOME":
            continue
        name = variable.removeprefix("DDX_").lower()
        if name not in known:
            hint = _nearest(name, known, prefix="DDX_", upper=True)
            raise SettingsError(f"the environment has an unknown variable {variable}{hint}")
        values[name], origins[name] = _typed(known[name], raw, variable), variable
    return values, origins


def _nearest(name: str, known: Mapping[str, Any], *, prefix: str = "", upper: bool = False) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.0)
    if not near:
        return ""
    return f"; did you mean {prefix}{near[0].upper() if upper else near[0]}?"


def _typed(setting: Field[Any], raw: Any, origin: str) -> Any:
    """Turn a TOML value or a variable's text into the type of the setting's default."""
    wanted = type(setting.default)
    if isinstance(raw, wanted) and not (wanted is int and isinstance(raw, bool)):
        return raw
    try:
        if wanted is bool and isinstance(raw, str):
            return {
                "1": True,
                "true": True,
                "yes": True,
                "0": False,
                "false": False,
                "no": False,
            }[raw.strip().lower()]
        if wanted is float and isinstance(raw, int | float | str) and raw is not True:
            return float(raw)
        if wanted is int and isinstance(raw, str):
            return int(raw)
    except (ValueError, KeyError):
        pass
    kind = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[wanted]
    raise SettingsError(f"{origin}: {setting.name} must be {kind}")


def _read_mlflow_config(path: Path) -> dict[str, str]:
    try:
        names = runpy.run_path(str(path))
    except Exception as error:
        raise SettingsError(f"{path.name} does not run: {type(error).__name__}: {error}") from error
    found: dict[str, str] = {}
    for name in ("db_uri", "artifacts_path"):
        if name in names:
            if not isinstance(names[name], str) or not names[name]:
                raise SettingsError(f"{path.name}: {name} must be a text that is not empty")
            found[name] = names[name]
    return found


def _absolute_db(uri: str, root: Path) -> str:
    scheme, _, rest = uri.partition(":///")
    if scheme == "sqlite" and rest and not rest.startswith("/"):
        return f"sqlite:///{root / rest}"
    return uri


def _absolute_artifacts(path: str, root: Path) -> str:
    if path.startswith("file://"):
        path = path.removeprefix("file://")
    return path if "://" in path else str(root / path)


# --- the registry -----------------------------------------------------------------------


def _models(overrides: Mapping[str, Any]) -> dict[str, Model]:
    shipped = tomllib.loads(_default_text("models.toml"))["models"]
    known = {f.name for f in fields(Model)} - {"name"}
    models = {}
    for name in {**shipped, **overrides}:
        entry = {**shipped.get(name, {}), **overrides.get(name, {})}
        for key in entry:
            if key not in known:
                hint = _nearest(key, dict.fromkeys(known))
                raise SettingsError(f"model {name!r} has an unknown key {key!r}{hint}")
        models[name] = _model(name, entry)
    return models


def _model(name: str, entry: Mapping[str, Any]) -> Model:
    values = dict(entry)
    try:
        values["engine"] = EngineKind(values.get("engine", ""))
    except ValueError:
        kinds = ", ".join(EngineKind)
        raise SettingsError(f"model {name!r} needs an engine: one of {kinds}") from None
    if values["engine"] is EngineKind.DSPY and not values.get("llm"):
        raise SettingsError(f'model {name!r} needs llm = "provider/model"')
    for f in fields(Model):
        wanted = {"float | None": float, "float": float, "int | None": int, "int": int}.get(
            str(f.type), str
        )
        value = values.get(f.name)
        if value is None or f.name in ("engine", "name"):
            continue
        if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
            values[f.name] = float(value)
        elif not isinstance(value, wanted) or isinstance(value, bool):
            raise SettingsError(f"model {name!r}: {f.name} must be a {wanted.__name__}")
    return Model(name=name, **values)


def _prompts(overrides: Mapping[str, Any]) -> dict[int, PromptConfig]:
    shipped = tomllib.loads(_default_text("prompts.toml"))["prompts"]
    prompts = {}
    for key in {**shipped, **overrides}:
        entry = {**shipped.get(key, {}), **overrides.get(key, {})}
        if not key.isdecimal():
            raise SettingsError(f"[prompts.{key}]: the index must be a whole number")
        if set(entry) != {"name", "text"} or not all(isinstance(v, str) for v in entry.values()):
            raise SettingsError(f"[prompts.{key}] needs name and text, and nothing else")
        prompts[int(key)] = PromptConfig(index=int(key), **entry)
    return dict(sorted(prompts.items()))


def _default_text(name: str) -> str:
    return (resources.files("ddx.defaults") / name).read_text(encoding="utf-8")


def _check(settings: Settings) -> None:
    """Refuse what cannot work, before anything starts."""
    if settings.default_model not in settings.models:
        hint = _nearest(settings.default_model, settings.models)
        raise SettingsError(f"default_model {settings.default_model!r} is not a model{hint}")
    choices = {
        "delivery": ("auto", "client", "bulk"),
        "journal": ("sqlite", "memory"),
        "log_level": ("debug", "info", "warning", "error"),
    }
    for name, allowed in choices.items():
        if getattr(settings, name) not in allowed:
            raise SettingsError(f"{name} must be one of {', '.join(allowed)}")
    if settings.journal == "memory" and not settings.bench_models:
        raise SettingsError('journal = "memory" loses records; it needs bench_models = true')
    _check_ports(settings)
    for model in settings.models.values():
        if model.prompt is not None and model.prompt not in settings.prompts:
            raise SettingsError(f"model {model.name!r}: there is no prompt {model.prompt}")
    if not settings.instance.replace("-", "").replace("_", "").isalnum():
        raise SettingsError("instance must be letters, digits, - and _")


def _check_ports(settings: Settings) -> None:
    for name in ("port", "mlflow_port"):
        if not 1 <= getattr(settings, name) <= 65535:
            raise SettingsError(f"{name} must be a port from 1 to 65535")
        if getattr(settings, name) == 6000:
            raise SettingsError(f"{name} must not be 6000: browsers refuse that port")
