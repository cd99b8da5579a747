"""MLflow's database, reached directly: connections, transactions, its schema's revision."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ddx.errors import DatabaseUnavailable, DdxError, TrackerUnavailable, UntestedSchema

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

TESTED_REVISIONS = frozenset({"dc11669786a5"})
"""Alembic revisions of MLflow's schema that both doors' runs were compared at. MLflow 3.17."""
_SQLITE_BUSY_S = 20.0
"""As long as MLflow's own connections wait for a lock."""
_ANALYZE_EACH = 5_000
_LOGIN_REFUSED = (1044, 1045, 1049)
"""MySQL's numbers: no right to the database, no such login, no such database."""


class RowsRefused(Exception):
    """The database takes one of these rows for no valid one, and would again."""


class Database:
    """One database of MLflow. Not for several threads."""

    def __init__(self, db_uri: str) -> None:
        self._db_uri = db_uri
        self._inserted = 0
        """Runs since the last ANALYZE."""
        self._until_analyze = 1

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file."""
        return self._db_uri.startswith("sqlite:")

    def revision(self) -> str:
        """Return the schema's Alembic revision. Raises TrackerUnavailable."""
        with self._connected(writing=False) as connection:
            return _revision(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection to read with. Raises TrackerUnavailable."""
        with self._connected(writing=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a transaction, committed at the end, or rolled back by an error.

        Raises TrackerUnavailable, RowsRefused, and UntestedSchema where MLflow has migrated its
        schema to one that we know nothing of: asked in each transaction, since a migration can
        happen at any time.
        """
        with self._connected(writing=True) as connection:
            revision = _revision(connection)
            if revision not in TESTED_REVISIONS:
                raise UntestedSchema(
                    f"MLflow's schema has revision {revision}; direct insertion was tested with"
                    f" {', '.join(sorted(TESTED_REVISIONS))}"
                )
            yield connection

    def tend(self, inserted: int) -> None:
        """Keep the database quick after `inserted` more runs.

        Without statistics SQLite sorts runs by a metric in quadratic time: a click in MLflow's
        pages then locks the database for minutes. MLflow itself never gathers any. A sample is
        enough: at 100,000 runs it took 0.1 s, and the sort 0.8 s.
        """
        self._inserted += inserted
        if not self.is_sqlite or self._inserted < self._until_analyze:
            return
        # Somebody else's long transaction is no reason to fail: the next time is near.
        with suppress(TrackerUnavailable), self._connected(writing=False) as connection:
            connection.exec_driver_sql("pragma analysis_limit = 1000")
            connection.exec_driver_sql("analyze")
        self._inserted = 0
        self._until_analyze = min(_ANALYZE_EACH, max(100, 2 * self._until_analyze))

    def close(self) -> None:
        """Let go of connections."""
        if "_engine" in self.__dict__:
            self._engine.dispose()

    # --- connections --------------------------------------------------------------------

    @contextmanager
    def _connected(self, *, writing: bool) -> Iterator[Connection]:
        with _translated(), self._engine.connect() as connection:
            if self.is_sqlite:
                # IMMEDIATE: a transaction that reads first and then finds that another has
                # written meanwhile is refused at once, without waiting for the lock.
                connection.exec_driver_sql("begin immediate" if writing else "begin")
            elif connection.dialect.name == "postgresql":
                connection.exec_driver_sql("set local statement_timeout = 60000")
            yield connection
            connection.commit()

    @cached_property
    def _engine(self) -> Engine:
        from sqlalchemy import create_engine
        from sqlalchemy.engine import make_url
        from sqlalchemy.pool import NullPool

        url = make_url(self._db_uri)
        # Parameters are values of runs: without `hide_parameters` errors would quote them.
        if self.is_sqlite:
            # A new connection for each transaction, for one that is kept would go on writing
            # into a file that a restore or a reset has replaced.
            return create_engine(
                url,
                creator=lambda: _connect_sqlite(url.database or ""),
                poolclass=NullPool,
                hide_parameters=True,
            )
        return create_engine(
            url,
            pool_size=1,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args=_timeouts(url),
        )


def _connect_sqlite(path: str) -> sqlite3.Connection:
    # mode=rw: the file is MLflow's to create, with its tables.
    connection = sqlite3.connect(
        f"file:{quote(path)}?mode=rw", uri=True, timeout=_SQLITE_BUSY_S, isolation_level=None
    )
    # The journal's mode stays MLflow's own, rollback: MLflow's server writes this file too, by
    # whatever SQLite its Python has, and up to 3.51.2 the log of WAL mode can be corrupted when
    # several processes write and checkpoint. Large transactions are as quick without it.
    connection.execute("pragma synchronous = full")
    # A transaction that outgrows the page cache locks readers out before it commits.
    connection.execute("pragma cache_size = -65536")
    return connection


def _timeouts(url: URL) -> dict[str, Any]:
    """Return connection settings that end a wait for a server which is gone."""
    if url.drivername.startswith("postgresql+psycopg"):
        return {"connect_timeout": 10, "tcp_user_timeout": 30_000}
    if url.drivername == "mysql+pymysql":
        return {"connect_timeout": 10, "read_timeout": 60, "write_timeout": 60}
    return {}


def _revision(connection: Connection) -> str:
    row = connection.exec_driver_sql("select version_num from alembic_version").fetchone()
    if row is None:
        raise TrackerUnavailable("MLflow has not finished making its database")
    return str(row[0])


@contextmanager
def _translated() -> Iterator[None]:
    """Say SQLAlchemy's errors in our words, without their text."""
    from sqlalchemy import exc

    try:
        yield
    except DdxError:
        raise
    except (exc.DataError, exc.IntegrityError) as error:
        raise RowsRefused(type(error.orig).__name__) from error
    except exc.DBAPIError as error:
        if unreached(error):
            raise DatabaseUnavailable from error
        # Gone, locked, full, or without tables: another day it may go well.
        raise TrackerUnavailable(f"MLflow's database: {_kind(error)}") from error
    except exc.StatementError as error:
        # Not even sent: a driver cannot say this value in its protocol.
        raise RowsRefused(type(error.orig).__name__) from error
    except UnicodeEncodeError:
        # Not chained: the error holds the whole text.
        raise RowsRefused("UnicodeEncodeError") from None
    except exc.SQLAlchemyError as error:
        raise TrackerUnavailable(f"MLflow's database: {type(error).__name__}") from error
    except sqlite3.Error as error:
        raise TrackerUnavailable(f"MLflow's database: {type(error).__name__}") from error


def unreached(error: Any) -> bool:
    """Whether SQLAlchemy says that a server was not reached, or let nobody in. Its drivers tell it
    by what their errors lack or count; a file is always reached.
    """
    from sqlalchemy import exc

    if not isinstance(error, exc.OperationalError) or isinstance(error.orig, sqlite3.Error):
        return False
    number = next(iter(error.orig.args if error.orig else ()), None)
    if isinstance(number, int):  # pymysql counts; those from 2000 on are its client's
        return 2000 <= number < 3000 or number in _LOGIN_REFUSED
    state = getattr(error.orig, "sqlstate", None)  # psycopg has none before it is connected
    return str(state or "08").startswith(("08", "28", "57P"))  # connection, login, shutting down


def _kind(error: Any) -> str:
    code = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None)
    return str(code or type(error.orig).__name__)
