"""MLflow's stores as people write them: database addresses, folders, object stores."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from ddx.errors import MissingExtra, SettingsError

MLFLOW_NAME = "mlflow_server_config.py"
_POSTGRES = {"psycopg": "postgresql+psycopg", "psycopg2": "postgresql+psycopg2"}
_MYSQL = {"pymysql": "mysql+pymysql", "MySQLdb": "mysql+mysqldb"}
_DRIVERS = {
    "postgres": _POSTGRES,
    "postgresql": _POSTGRES,
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
}
"""Scheme -> module -> the scheme by which SQLAlchemy takes that module, the best first."""
_NEEDED = {
    "postgresql+psycopg": ("psycopg", "postgres"),
    "mysql+pymysql": ("pymysql", "mysql"),
    "s3": ("boto3", "s3"),
    "gs": ("google.cloud.storage", "gcs"),
    "wasb": ("azure.storage.blob", "azure"),
    "wasbs": ("azure.storage.blob", "azure"),
    "abfss": ("azure.storage.filedatalake", "azure"),
    "arn": ("sagemaker_mlflow", "sagemaker"),
}
"""Scheme -> what must be installed for it, and the extra that brings it."""
_FILES = re.compile(r"(?<=[?&])(sslrootcert|sslcert|sslkey|sslcrl|ssl_ca|ssl_cert|ssl_key)=([^&]+)")
_NO_FILE = ("system",)
"""`sslrootcert=system` is PostgreSQL's word for what the machine trusts."""


def database(found: Mapping[str, str], root: Path) -> str:
    """Return MLflow's database, from what its settings file sets, as every process takes it:
    with its driver, its password, and absolute paths. Raises SettingsError.
    """
    uri = absolute_db(with_driver(found["db_uri"]), root)
    file = found.get("db_password_file")
    return with_password(uri, root / Path(file).expanduser()) if file else uri


def with_driver(uri: str) -> str:
    """Name the driver that is installed, where the address names none.

    >>> with_driver("postgresql+psycopg2://ddx@db/mlflow")
    'postgresql+psycopg2://ddx@db/mlflow'
    """
    scheme, separator, rest = uri.partition("://")
    drivers = _DRIVERS.get(scheme)
    if drivers is None:
        return uri
    installed = [name for module, name in drivers.items() if find_spec(module)]
    return f"{(installed or list(drivers.values()))[0]}{separator}{rest}"


def absolute_db(uri: str, root: Path) -> str:
    """Return MLflow's database with absolute paths. Raises SettingsError."""
    scheme, separator, rest = uri.partition("://")
    if not separator or not scheme:
        raise SettingsError(
            f"{MLFLOW_NAME}: db_uri must be a database's address, such as"
            " sqlite:///mlflow_data/mlflow.db or postgresql://user@host/mlflow"
        )
    if scheme != "sqlite":
        return _FILES.sub(lambda named: _absolute_file(named, root), uri)
    path = rest.removeprefix("/")
    if not path or path == ":memory:":
        raise SettingsError(f"{MLFLOW_NAME}: db_uri must name a file: a database in memory is lost")
    return uri if path.startswith("/") else f"sqlite:///{root / path}"


def with_password(uri: str, file: Path) -> str:
    """Put the password of a file into an address that names a user alone. Raises SettingsError."""
    scheme, _, rest = uri.partition("://")
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    if not at or not user or ":" in user:
        raise SettingsError(
            f"{MLFLOW_NAME}: with db_password_file, db_uri must name a user and no password,"
            " such as postgresql://ddx@host/mlflow"
        )
    try:
        password = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{MLFLOW_NAME}: db_password_file cannot be read ({type(error).__name__})"
        ) from error
    if not password or "\n" in password:
        raise SettingsError(f"{MLFLOW_NAME}: db_password_file must hold one line, the password")
    return f"{scheme}://{user}:{quote(password, safe='')}@{host}{slash}{path}"


def absolute_artifacts(path: str, root: Path) -> str:
    """Return the artifact root: an absolute path, or an object store's address."""
    if path.startswith("file:"):
        path = path.removeprefix("file:").removeprefix("//")
    return path if "://" in path else str(root / Path(path).expanduser())


def check_installed(*uris: str) -> None:
    """Raise MissingExtra, naming it, where a store's library is not installed."""
    for uri in uris:
        scheme = uri.partition(":")[0]
        module, extra = _NEEDED.get(scheme, ("", ""))
        if module and not _installed(module):
            raise MissingExtra(f"{scheme}: needs {module}: pip install 'ddx-server[{extra}]'")
        if scheme == "azureml" and not _installed("azureml.mlflow"):
            # No extra of ours: its newest release refuses MLflow after 3.15.
            raise MissingExtra("azureml: needs azureml-mlflow; docs/managed.md says how")


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


def _absolute_file(named: re.Match[str], root: Path) -> str:
    name, path = named[1], named[2]
    return f"{name}={path if path in _NO_FILE else root / path}"
