"""MLflow's own login: what its basic-auth app is started with, and what we say to it.

A folder, private, with the passwords that are made at the first start, the secret of its forms,
its settings and its database of users. Nobody but the users made here may see anything until
MLflow is told otherwise: USER, who may do all, and READER, who may look at our experiment
(mlflow_runs.reader).
"""

from __future__ import annotations

import os
import secrets
from importlib.util import find_spec
from pathlib import Path

from ddx.errors import MissingExtra

USER, READER = "ddx", "ddx-reader"
_FILES = {USER: "password", READER: "reader-password"}
_SECRET, _INI, _USERS = "secret", "auth.ini", "users.db"
# The cache saves a slow hash for each request. MLflow empties it where a password changes, in the
# process that changes it: we start one.
_SETTINGS = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///{users}
admin_username = {user}
admin_password = comes from the environment
auth_cache_ttl_seconds = 60
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


def environment(folder: Path) -> dict[str, str]:
    """Return what MLflow is started with; make the folder and what is in it where it is missing.

    Raises MissingExtra.
    """
    if find_spec("flask_wtf") is None:
        raise MissingExtra("MLflow's login needs Flask-WTF: pip install 'ddx-server[secure]'")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    password, secret = _made(folder / _FILES[USER]), _made(folder / _SECRET)
    _made(folder / _FILES[READER])
    ini = folder / _INI
    _write(ini, _SETTINGS.format(users=folder / _USERS, user=USER))
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(ini),
        "MLFLOW_AUTH_ADMIN_USERNAME": USER,
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secret,
        # What MLflow forgot to guard is refused, but to USER.
        "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true",
    }


def password(folder: Path, user: str = USER) -> str | None:
    """Return a user's password, None where MLflow was never started with a login."""
    try:
        return (folder / _FILES[user]).read_text(encoding="ascii").strip()
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
