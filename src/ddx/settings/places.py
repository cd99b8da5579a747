"""Where things are: the tracking server's file, its addresses and paths."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from urllib.parse import urlsplit

from ddx.errors import SettingsError
from ddx.settings.words import nearest

MASK = "********"
_NAMES = {"db_uri": "", "db_password_file": "", "artifacts_path": ""}
_SECRET = re.compile(r"(?i)([?&;](?:\w*password|\w*token|\w*secret|\w*key|sig|pwd)=)[^&;]*")


def mask_uri(uri: str) -> str:
    """Hide the passwords of a URI, before its host and in its query.

    >>> mask_uri("postgresql://ddx:s3cret@db/mlflow?sslpassword=x&sslmode=require")
    'postgresql://ddx:********@db/mlflow?sslpassword=********&sslmode=require'
    """
    scheme, separator, rest = uri.partition("://")
    place, mark, query = rest.partition("?")
    user, at, host = place.rpartition("@")
    name, colon, _ = user.partition(":")
    if at and colon:
        place = f"{name}:{MASK}@{host}"
    return _SECRET.sub(rf"\g<1>{MASK}", f"{scheme}{separator}{place}{mark}{query}")


def bracketed(host: str) -> str:
    """Return a host as it stands in an address.

    >>> bracketed("::1"), bracketed("127.0.0.1")
    ('[::1]', '127.0.0.1')
    """
    return f"[{host}]" if ":" in host else host


def read_mlflow_config(path: Path) -> dict[str, str]:
    """Run the tracking server's settings file; return what it sets. Raises SettingsError."""
    try:
        names = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        raise SettingsError(f"{path.name} does not run: {type(error).__name__}: {error}") from error
    found: dict[str, str] = {}
    for name, value in names.items():
        if name in _NAMES:
            if not isinstance(value, str) or not value:
                raise SettingsError(f"{path.name}: {name} must be a text that is not empty")
            found[name] = value
        elif _is_slip(name, value):
            raise SettingsError(
                f"{path.name}: {name} is no setting{nearest(name, _NAMES)}"
                " A helper's name begins with an underscore."
            )
    return found


def _is_slip(name: str, value: object) -> bool:
    """Whether a text's name looks like one of ours; imports and helpers are nobody's business."""
    if name.startswith("_") or not isinstance(value, str):
        return False
    return name.lower().startswith(("db_", "database_u", "artifact"))


def check_address(uri: str, name: str) -> None:
    """Raise SettingsError where a tracking address is of no kind that MLflow knows."""
    parts = urlsplit(uri)
    known = ("http", "https", "databricks", "databricks-uc", "arn", "azureml", "uc")
    if uri != "databricks" and (
        parts.scheme not in known or (parts.scheme.startswith("http") and not parts.netloc)
    ):
        raise SettingsError(
            f"{name} must be MLflow's address, such as http://127.0.0.1:5000, or databricks"
        )
