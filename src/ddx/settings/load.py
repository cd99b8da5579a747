"""Put the settings together from files and environment."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddx.errors import SettingsError
from ddx.settings.check import check
from ddx.settings.places import read_mlflow_config
from ddx.settings.prices import prices
from ddx.settings.registry import models, prompts
from ddx.settings.stores import MLFLOW_NAME, absolute_artifacts, database
from ddx.settings.values import Settings, settable
from ddx.settings.words import nearest, typed

TOML_NAME = "ddx.toml"
_STORES = {
    "db_uri": "sqlite:///mlflow_data/mlflow.db",
    "artifacts_path": "mlflow_data/artifacts",
}


def load(
    environment: Mapping[str, str] | None = None, home: Path | None = None, *, whole: bool = True
) -> Settings:
    """Read the settings in force. Raises SettingsError, naming the file and the key.

    Of a home that is not `whole`, as out of a backup, files that the settings name may be missing.
    """
    env = dict(os.environ) if environment is None else dict(environment)
    root = (home or find_home(env)).resolve()
    toml_path, mlflow_path = root / TOML_NAME, root / MLFLOW_NAME
    table = _read_toml(toml_path) if toml_path.is_file() else {}
    models_table = table.pop("models", {})
    prompts_table = table.pop("prompts", {})
    prices_table = table.pop("prices", {})
    values, origins = _scalars(table, env)
    stores = _STORES
    if mlflow_path.is_file():
        found = read_mlflow_config(mlflow_path)
        stores = stores | found
        origins |= dict.fromkeys(found, MLFLOW_NAME)
    settings = Settings(
        **values,
        home=root,
        db_uri=database(stores, root),
        artifacts_path=absolute_artifacts(stores["artifacts_path"], root),
        models=models(models_table),
        prompts=prompts(prompts_table),
        prices=prices(prices_table),
        origins=origins,
        environment=env,
    )
    if whole:
        check(settings)
    return settings


def find_home(env: Mapping[str, str]) -> Path:
    """Return DDX_HOME, or the nearest folder from here upwards that has a settings file.

    Raises SettingsError where DDX_HOME is no folder.
    """
    if named := env.get("DDX_HOME"):
        if not Path(named).is_dir():
            raise SettingsError(f"DDX_HOME: there is no folder {named}")
        return Path(named)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / TOML_NAME).is_file() or (folder / MLFLOW_NAME).is_file():
            return folder
    return here


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name} is not valid TOML: {error}") from error


def _scalars(
    table: Mapping[str, Any], env: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    known = {f.name: f for f in settable()}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, raw in table.items():
        if name not in known:
            raise SettingsError(f"{TOML_NAME} has an unknown key {name!r}{nearest(name, known)}")
        values[name], origins[name] = typed(known[name], raw, TOML_NAME), TOML_NAME
    master = env.get("DDX_MASTER_KEY_ENV") or table.get("master_key_env")
    for variable, raw in env.items():
        if not variable.startswith("DDX_") or variable in ("DDX_HOME", master):
            continue
        name = variable.removeprefix("DDX_").lower()
        if name not in known:
            hint = nearest(name, known, prefix="DDX_", upper=True)
            raise SettingsError(f"the environment has an unknown variable {variable}{hint}")
        values[name], origins[name] = typed(known[name], raw, variable), variable
    return values, origins
