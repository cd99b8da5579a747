"""All of MLflow's rows from one database into another, and the proof that they are the same.

The old one is read as it is at one moment, which PostgreSQL and MySQL keep for us while others
write; what is written later is not moved. A move that was cut off goes on where it was: what it has
done is in a small file, and a row that is there already is not written twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddx.adapters.mlflow_runs.database import unreached
from ddx.adapters.mlflow_runs.library import tables
from ddx.adapters.mlflow_runs.upgrading import make
from ddx.errors import DatabaseUnavailable, DdxError, MoveRefused

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData, Table

_ROWS = 2_000
"""Rows of one transaction."""
_REVISION = "alembic_version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One table, when it was compared."""

    table: str
    rows: int
    digest: str
    """Of all its rows, in whatever order: the sum of their SHA-256, in hexadecimal."""


def move(old_uri: str, new_uri: str, state: Path, say: Callable[[str], None]) -> list[Moved]:
    """Copy every row; return each table with what was compared on both sides.

    `new_uri` is an empty database, or one that an earlier move into it left with its `state` file.
    Raises MoveRefused.
    """
    tables()  # MLflow's logging, as we want it
    with _said(), closing(_Pair(old_uri, new_uri)) as pair:
        done = _begin(pair, new_uri, state)
        found: list[Moved] = []
        for table in pair.tables():
            _copy(pair, table, done, state)
            found.append(_compared(pair, table))
            if found[-1].rows:
                say(f"{table.name}: {found[-1].rows} rows, equal")
        pair.set_sequences()
    state.unlink(missing_ok=True)
    return found


class _Pair:
    """Both databases, with the tables that the old one has."""

    def __init__(self, old_uri: str, new_uri: str) -> None:
        from mlflow.store.db.utils import create_sqlalchemy_engine
        from sqlalchemy import MetaData

        self.old: Engine = create_sqlalchemy_engine(old_uri)
        self.new: Engine = create_sqlalchemy_engine(new_uri)
        if self.old.dialect.name != "sqlite":
            self.old = self.old.execution_options(isolation_level="REPEATABLE READ")
        # Parameters are values of runs: without this, errors would quote them.
        self.old.hide_parameters = self.new.hide_parameters = True
        self._old_tables, self._new_tables = MetaData(), MetaData()
        self.reading: Connection = self.old.connect()
        """Of the old one, all of it in one transaction."""

    def tables(self) -> Iterator[Table]:
        """Yield the old tables, those that others refer to first."""
        for table in _reflected(self._old_tables, self.old).sorted_tables:
            if table.name != _REVISION:
                yield table

    def other(self, table: Table) -> Table:
        """Return the new table of this name. Raises MoveRefused."""
        found = _reflected(self._new_tables, self.new).tables.get(table.name)
        if found is None:
            raise MoveRefused(f"The new database has no table {table.name}.")
        return found

    def revision(self, engine: Engine) -> str | None:
        """Return the schema's revision, None where there are no tables."""
        from sqlalchemy import inspect

        if not inspect(engine).has_table(_REVISION):
            return None
        with engine.connect() as connection:
            found = connection.exec_driver_sql("select version_num from alembic_version").scalar()
        return str(found) if found else None

    def set_sequences(self) -> None:
        """Let PostgreSQL count on after the ids that were copied."""
        if self.new.dialect.name != "postgresql":
            return
        from sqlalchemy import func, select

        with self.new.begin() as connection:
            for table in self.tables():
                column = self.other(table).autoincrement_column
                if column is None:
                    continue
                sequence = func.pg_get_serial_sequence(table.name, column.name)
                highest = connection.scalar(select(func.max(column)))
                if highest and connection.scalar(select(sequence)):
                    connection.execute(select(func.setval(sequence, highest)))

    def close(self) -> None:
        """Let go of both."""
        self.reading.close()
        self.old.dispose()
        self.new.dispose()


def _reflected(known: MetaData, engine: Engine) -> MetaData:
    from sqlalchemy import Float

    if not known.tables:
        known.reflect(engine)
        for table in known.tables.values():
            for column in table.columns:
                if isinstance(column.type, Float):
                    # MySQL's come back as decimals of ten digits otherwise, which is not all.
                    column.type.asdecimal = False
    return known


def _begin(pair: _Pair, new_uri: str, state: Path) -> dict[str, int]:
    """Return how many rows of each table are there already; make the tables of a new database."""
    old = pair.revision(pair.old)
    if old is None:
        raise MoveRefused("The old database has no tables of MLflow.")
    if pair.revision(pair.new) is None:
        make(new_uri)
    new = pair.revision(pair.new)
    if old != new:
        raise MoveRefused(
            f"The tables differ: revision {old} in the old database, {new} in the new one. Bring"
            " the old one to this MLflow's revision first: ddx db upgrade"
        )
    address = hashlib.sha256(str(pair.new.url).encode()).hexdigest()
    if state.exists():
        kept = json.loads(state.read_text(encoding="utf-8"))
        if kept.get("to") == address:
            return dict(kept["rows"])
    if _held(pair):
        raise MoveRefused("The new database holds runs or experiments already: name an empty one.")
    with pair.new.begin() as connection:
        for table in reversed(list(pair.tables())):
            # Not what we were asked to move: what MLflow writes into each new database.
            connection.execute(pair.other(table).delete())
    done: dict[str, int] = {"": 0}
    _keep(state, address, done)
    return done


def _held(pair: _Pair) -> bool:
    """Whether anybody has used the new database: MLflow makes one experiment by itself."""
    from sqlalchemy import func, select

    named = {table.name: pair.other(table) for table in pair.tables()}
    with pair.new.connect() as connection:
        runs = connection.scalar(select(func.count()).select_from(named["runs"]))
        experiments = connection.scalar(select(func.count()).select_from(named["experiments"]))
    return bool(runs) or (experiments or 0) > 1


def _keep(state: Path, address: str, done: dict[str, int]) -> None:
    beside = state.with_suffix(".new")
    beside.write_text(json.dumps({"to": address, "rows": done}), encoding="utf-8")
    beside.replace(state)


def _copy(pair: _Pair, table: Table, done: dict[str, int], state: Path) -> None:
    from sqlalchemy import select

    target = pair.other(table)
    names = [c.name for c in table.columns if target.columns[c.name].computed is None]
    chosen = select(*(table.columns[name] for name in names)).order_by(*table.primary_key)
    address = hashlib.sha256(str(pair.new.url).encode()).hexdigest()
    begun = done.get(table.name, 0)
    options = {"yield_per": _ROWS}
    rows = pair.reading.execute(chosen.offset(begun), execution_options=options)
    for part in rows.mappings().partitions():
        with pair.new.begin() as writing:
            _insert(writing, target, [dict(row) for row in part])
        begun += len(part)
        done[table.name] = begun
        _keep(state, address, done)


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows; one that is there already stays as it is."""
    from sqlalchemy.dialects import mysql, postgresql, sqlite

    match connection.dialect.name:
        case "mysql" | "mariadb":
            # MLflow's first experiment has the id 0, which MySQL takes for "choose one".
            connection.exec_driver_sql(
                "set session sql_mode = concat(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')"
            )
            connection.execute(mysql.insert(table).prefix_with("ignore"), rows)
        case "postgresql":
            connection.execute(postgresql.insert(table).on_conflict_do_nothing(), rows)
        case "sqlite":
            connection.execute(sqlite.insert(table).on_conflict_do_nothing(), rows)
        case other:
            raise MoveRefused(f"Rows are not moved into {other}.")


def _compared(pair: _Pair, table: Table) -> Moved:
    old = _sum(pair.reading, table)
    with pair.new.connect() as written:
        new = _sum(written, pair.other(table))
    if old != new:
        raise MoveRefused(
            f"{table.name} differs after the move: {old[0]} rows in the old database, {new[0]} in"
            " the new one. Something else wrote meanwhile: stop it, empty the new database, and"
            " begin again."
        )
    return Moved(table=table.name, rows=old[0], digest=f"{old[1]:064x}")


def _sum(connection: Connection, table: Table) -> tuple[int, int]:
    """Return the number of rows and the sum of their digests."""
    from sqlalchemy import select

    names = sorted(column.name for column in table.columns if column.computed is None)
    rows, total = 0, 0
    found = connection.execute(
        select(*(table.columns[name] for name in names)), execution_options={"yield_per": _ROWS}
    )
    for row in found:
        said = json.dumps([_plain(value) for value in row], ensure_ascii=True)
        total += int.from_bytes(hashlib.sha256(said.encode()).digest())
        rows += 1
    return rows, total % 2**256


def _plain(value: Any) -> Any:
    """Return what every driver would have given for this value.

    >>> [_plain(one) for one in (True, 2.0, Decimal("2"), b"x", {"b": 1})]
    [1, 2, 2, '78', '{"b": 1}']
    """
    match value:
        case None | str():
            return value
        case bool() | int():
            return int(value)
        case Decimal() | float():
            return int(value) if value == value // 1 else repr(float(value))
        case bytes() | memoryview():
            return bytes(value).hex()
        case dict() | list():
            return json.dumps(value, sort_keys=True)
        case _:
            return str(value)


@contextmanager
def _said() -> Iterator[None]:
    """Say errors of the databases in our words, without their text: it can quote values."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except DdxError:
        raise
    except SQLAlchemyError as error:
        if unreached(error):
            raise DatabaseUnavailable from None
        kind = type(getattr(error, "orig", None) or error).__name__
        raise MoveRefused(f"A database refused a row: {kind}.") from None
