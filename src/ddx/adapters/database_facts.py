"""What MLflow's database says of itself. Nothing is written, and MLflow is not imported."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """What a look into an MLflow database found."""

    trouble: str | None = None
    """Why it could not be read, or what its integrity check says; None where it is sound."""
    revision: str | None = None
    """Of its tables, as Alembic names it."""
    runs: int | None = None
    """Also the deleted ones; None where it was not counted."""


def sqlite_facts(file: Path) -> DatabaseFacts:
    """Look into a SQLite file that exists."""
    try:
        # Read-only, so that a look makes no file and recovers nothing.
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=5)) as db:
            said = [str(row[0]) for row in db.execute("pragma quick_check(3)")]
            if said != ["ok"]:
                return DatabaseFacts(trouble="; ".join(said))
            revision = db.execute("select version_num from alembic_version").fetchone()
            (runs,) = db.execute("select count(*) from runs").fetchone()
    except sqlite3.Error as error:
        return DatabaseFacts(trouble=str(error))
    return DatabaseFacts(revision=revision[0] if revision else None, runs=runs)


def server_facts(uri: str) -> DatabaseFacts:
    """Look into a database behind a server. Its integrity is its own server's matter."""
    try:
        from sqlalchemy import create_engine, text
        from sqlalchemy.exc import SQLAlchemyError
    except ModuleNotFoundError:
        return DatabaseFacts(trouble="the extra `tracking` is not installed")
    try:
        engine = create_engine(uri)
        with engine.connect() as connection:
            revision = connection.execute(text("select version_num from alembic_version"))
            return DatabaseFacts(revision=revision.scalar())
    except (SQLAlchemyError, ImportError) as error:
        # Its text can hold the address with its password.
        return DatabaseFacts(trouble=f"it cannot be read ({type(error).__name__})")
