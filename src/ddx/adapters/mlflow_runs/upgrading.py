"""The revision of MLflow's tables, and the way to a newer one: MLflow's own migrations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ddx.adapters.mlflow_runs.library import tables
from ddx.errors import MoveRefused

if TYPE_CHECKING:
    from sqlalchemy import Engine


def wanted() -> str:
    """Return the revision that the installed MLflow works with. Raises MissingExtra."""
    tables()
    from mlflow.store.db.utils import _get_latest_schema_revision

    return str(_get_latest_schema_revision())


def make(db_uri: str) -> None:
    """Make MLflow's tables in a database that has none. Raises MoveRefused."""
    tables()
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine
    from sqlalchemy import inspect

    with _engine(db_uri, create_sqlalchemy_engine) as engine:
        if not inspect(engine).has_table("alembic_version"):
            _initialize_tables(engine)


def upgrade(db_uri: str) -> None:
    """Run MLflow's migrations. Raises MoveRefused."""
    tables()
    from mlflow.store.db.utils import _upgrade_db, create_sqlalchemy_engine

    with _engine(db_uri, create_sqlalchemy_engine) as engine:
        _upgrade_db(engine)


@contextmanager
def _engine(db_uri: str, create: Callable[[str], Engine]) -> Iterator[Engine]:
    """Give MLflow's engine; say its errors in our words, without their text."""
    from sqlalchemy.exc import SQLAlchemyError

    for name in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    engine = create(db_uri)
    try:
        yield engine
    except SQLAlchemyError as error:
        kind = type(getattr(error, "orig", None) or error).__name__
        raise MoveRefused(f"MLflow's tables cannot be made or migrated: {kind}.") from None
    finally:
        engine.dispose()
