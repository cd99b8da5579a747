"""A PostgreSQL cluster of one's own, from the programs that this machine has."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.tracking_server import a_free_port

USER = "postgres" if os.geteuid() == 0 else None
"""PostgreSQL refuses to run as root."""


class NoPostgres(Exception):
    """A part that it needs is not installed."""


@contextmanager
def a_postgres(folder: Path) -> Iterator[str]:
    """Start a cluster in an empty folder, with MLflow's tables; yield its address.

    Raises NoPostgres.
    """
    try:
        import psycopg  # noqa: F401
        from mlflow.store.db import utils
        from sqlalchemy import create_engine
    except ModuleNotFoundError as error:
        raise NoPostgres(f"needs {error.name}") from error
    initdb, pg_ctl, port = _program("initdb"), _program("pg_ctl"), a_free_port()
    if USER:
        shutil.chown(folder, USER)
        for above in folder.parents:
            if above.owner() == "root" and not above.stat().st_mode & 0o001:
                above.chmod(above.stat().st_mode | 0o011)

    def run(*command: str) -> None:
        subprocess.run(command, user=USER, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    run(initdb, "-D", f"{folder}/data", "-A", "trust", "-U", "ddx")
    listen = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    run(pg_ctl, "-D", f"{folder}/data", "-o", listen, "-l", f"{folder}/log", "-w", "start")
    try:
        engine = create_engine(f"postgresql+psycopg://ddx@127.0.0.1:{port}/postgres")
        utils._initialize_tables(engine)
        engine.dispose()
        yield f"postgresql+psycopg://ddx@127.0.0.1:{port}/postgres"
    finally:
        run(pg_ctl, "-D", f"{folder}/data", "-m", "immediate", "stop")


def _program(name: str) -> str:
    """Return the newest of PostgreSQL's programs. Raises NoPostgres."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(installed[-1]) if installed else None)
    if found is None:
        raise NoPostgres(f"needs PostgreSQL: no {name} here")
    return found
