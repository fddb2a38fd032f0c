"""Rows of any number: read a few at a time, so that no more is kept in memory, and written many at a time."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, Table, Text, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

ROWS: Final = 1000
"""How many rows are handed on at once."""
BYTES: Final = 4 << 20
"""How much of what was sent: the signal that reaches it is the last of its batch."""
VALUES: Final = 30_000
"""How many values a statement is given at once: both databases take a little more."""
FETCHED: Final = 100
"""How many rows are fetched from the database at once."""


@contextmanager
def batches(connection: Connection, statement: Select[Any]) -> Iterator[Iterator[list[Row[Any]]]]:
    """The rows of a statement in batches, none of them empty."""
    # Not a generator: one that is left early would be closed after its transaction.
    with connection.execute(statement.execution_options(yield_per=FETCHED)) as rows:
        yield _batches(rows, sent="body" in statement.selected_columns)


def _batches(rows: Iterable[Row[Any]], *, sent: bool) -> Iterator[list[Row[Any]]]:
    batch: list[Row[Any]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row.body) if sent else 0
        if len(batch) == ROWS or size >= BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class json_rows(FunctionElement[str]):
    """Of rows, each an array of the columns given, one array of JSON, in any order.

    For no more rows than may be in memory together. Between any two rows that it fetches the driver of SQLite
    lets go of the interpreter, which an event loop in the same process then has to be given back each time.
    """

    type = Text()
    inherit_cache = True


@compiles(json_rows)
def _of_sqlite(rows: json_rows, compiler: SQLCompiler, **given: Any) -> str:
    return f"json_group_array(json_array({compiler.process(rows.clauses, **given)}))"


@compiles(json_rows, "postgresql")
def _of_postgresql(rows: json_rows, compiler: SQLCompiler, **given: Any) -> str:
    array = f"json_build_array({compiler.process(rows.clauses, **given)})"
    return f"coalesce(CAST(json_agg({array}) AS TEXT), '[]')"


def as_json(statement: Select[Any]) -> Select[Any]:
    """The rows of a statement as one, see ``json_rows``."""
    return select(json_rows(*statement.subquery().columns))


def insert_all(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows: the values of all columns but the first, which numbers them.

    One statement for as many as it takes. For each statement the driver lets go of the interpreter, so that rows
    inserted one by one make an event loop in the same process wait as often.
    """
    names = [connection.dialect.identifier_preparer.quote(each.name) for each in table.columns][1:]
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    row = f"({', '.join([mark] * len(names))})"
    most = VALUES // len(names)
    for start in range(0, len(rows), most):
        some = rows[start : start + most]
        statement = (
            f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {', '.join([row] * len(some))}"
        )
        connection.exec_driver_sql(statement, tuple(chain.from_iterable(some)))
