"""Many rows into one of MLflow's tables, in the way that is quick on each database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection, Insert, Table

Rows = Sequence[Mapping[str, Any]]


def insert(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert rows that have the same keys. A run is about 35 of them."""
    if not rows:
        return
    match connection.dialect.name:
        case "sqlite":
            _by_driver(connection, table, rows)
        case "postgresql":
            if connection.dialect.driver == "psycopg":
                _by_copy(connection, table, rows)
            else:
                document = json.dumps(list(rows), ensure_ascii=False)
                connection.execute(_from_json(table, list(rows[0])), {"rows": document})
        case _:
            # MySQL's driver joins the rows into one statement by itself.
            connection.execute(table.insert(), list(rows))


def _by_driver(connection: Connection, table: Table, rows: Rows) -> None:
    """Use SQLAlchemy's statement without its binding of parameters, which takes longer than
    SQLite's insertion itself.
    """
    statement = table.insert().compile(dialect=connection.dialect, column_keys=list(rows[0]))
    values = itemgetter(*(statement.positiontup or ()))
    connection.exec_driver_sql(str(statement), [values(row) for row in rows])


def _by_copy(connection: Connection, table: Table, rows: Rows) -> None:
    """Use PostgreSQL's COPY, in the transaction that is open."""
    import psycopg
    from sqlalchemy.exc import DBAPIError

    names = list(rows[0])
    values = itemgetter(*names)
    quoted = connection.dialect.identifier_preparer
    columns = ", ".join(quoted.quote(name) for name in names)
    statement = f"copy {quoted.format_table(table)} ({columns}) from stdin"
    dbapi: Any = connection.connection.dbapi_connection
    try:
        with dbapi.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(values(row))
    except psycopg.Error as error:
        # As SQLAlchemy says it for its own statements. Not chained: the text may quote a row.
        raise DBAPIError.instance(
            statement, None, error, psycopg.Error, hide_parameters=True, dialect=connection.dialect
        ) from None


def _from_json(table: Table, names: Sequence[str]) -> Insert:
    """Return `insert into t (…) select … from json_to_recordset(:rows)`: one statement with one
    value, where other drivers send, or simulate, a statement for each row.
    """
    from sqlalchemy import JSON, String, Text, bindparam, cast, column, func, select

    columns = []
    for name in names:
        type_ = table.c[name].type
        # varchar(n) here would cut what is too long; the table's column refuses it.
        columns.append(column(name, Text() if isinstance(type_, String) else type_))
    document = cast(bindparam("rows", type_=Text()), JSON)
    source = func.json_to_recordset(document).table_valued(*columns)
    source = source.render_derived(with_types=True)
    return table.insert().from_select(list(names), select(*(source.c[name] for name in names)))
