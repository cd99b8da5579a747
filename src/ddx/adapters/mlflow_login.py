"""MLflow's own login: what its basic-auth app is started with, and what we say to it.

A folder, private, with the password that is made at the first start, the secret of its forms, its
settings and its database of users. Nobody but the one user made here may see anything until MLflow
is told otherwise.
"""

from __future__ import annotations

import os
import secrets
from importlib.util import find_spec
from pathlib import Path

from ddx.errors import MissingExtra

USER = "ddx"
_PASSWORD, _SECRET, _INI, _USERS = "password", "secret", "auth.ini", "users.db"
_SETTINGS = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///{users}
admin_username = {user}
admin_password = comes from the environment
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


def environment(folder: Path) -> dict[str, str]:
    """Return what MLflow is started with; make the folder and what is in it where it is missing.

    Raises MissingExtra.
    """
    if find_spec("flask_wtf") is None:
        raise MissingExtra("MLflow's login needs Flask-WTF: pip install 'ddx-server[secure]'")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    password, secret = _made(folder / _PASSWORD), _made(folder / _SECRET)
    ini = folder / _INI
    _write(ini, _SETTINGS.format(users=folder / _USERS, user=USER))
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(ini),
        "MLFLOW_AUTH_ADMIN_USERNAME": USER,
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secret,
    }


def password(folder: Path) -> str | None:
    """Return the password of USER, None where MLflow was never started with a login."""
    try:
        return (folder / _PASSWORD).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None


def _made(file: Path) -> str:
    if not file.exists():
        _write(file, secrets.token_urlsafe(32))
    return file.read_text(encoding="ascii").strip()


def _write(file: Path, text: str) -> None:
    draft = file.with_suffix(".new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, text.encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    draft.replace(file)
