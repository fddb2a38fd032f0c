"""Rows of any number: read a few at a time, so that no more is kept in memory, and written many at a time."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Row, Select, Table, func, select

ROWS: Final = 1000
"""How many rows are handed on at once."""
BYTES: Final = 4 << 20
"""How much of what was sent: the signal that reaches it is the last of its batch."""
VALUES: Final = 30_000
"""How many values a statement is given at once: both databases take a little more."""
FETCHED: Final = 100
"""How many rows are fetched from the database at once."""

Each = TypeVar("Each", bound=Struct)


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


class Whole(Generic[Each]):
    """A statement whose rows are fetched at once, so of no more than may be in memory together.

    Each is made an ``Each``, a Struct that is ``array_like`` and has its fields in the order of the columns. They
    come in any order.
    """

    def __init__(self, statement: Select[Any], each: type[Each]) -> None:
        self._statement = statement
        rows = statement.subquery().columns
        self._as_json = select(func.json_group_array(func.json_array(*rows)))
        self._each = each
        # Not strictly: SQLite has numbers for what is true or not.
        self._decode = msgspec.json.Decoder(list[each], strict=False).decode  # type: ignore[valid-type]

    def fetch(self, connection: Connection, given: Mapping[str, Any] | None = None) -> list[Each]:
        """What there is, for these parameters."""
        # Between any two rows the driver of SQLite lets go of the interpreter, which an event loop in the same
        # process then has to be given back each time.
        if connection.dialect.name == "sqlite":
            return self._decode(connection.execute(self._as_json, given).scalar_one())
        return [self._each(*row) for row in connection.execute(self._statement, given)]


def insert_all(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows: the values of all columns but the first, which numbers them."""
    _insert(connection, table, [each.name for each in table.columns][1:], rows)


def put_all(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, each in place of the one that has its key, if there is one."""
    others = _quoted(connection, [each.name for each in table.columns if not each.primary_key])
    insert_or(connection, table, rows, ", ".join(f"{each} = excluded.{each}" for each in others))


def add_all(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, or add the last column to that of the one that has the key."""
    [last] = _quoted(connection, [list(table.columns)[-1].name])
    insert_or(connection, table, rows, f"{last} = {table.name}.{last} + excluded.{last}")


def insert_or(
    connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], change: str
) -> None:
    """Insert rows: the values of all columns. Of those whose key is there already, ``change`` the one that is there.

    No two of them may have the same key.
    """
    key = ", ".join(_quoted(connection, [each.name for each in table.primary_key]))
    otherwise = f" ON CONFLICT ({key}) DO UPDATE SET {change}"
    _insert(connection, table, [each.name for each in table.columns], rows, otherwise)


def _insert(
    connection: Connection,
    table: Table,
    columns: Collection[str],
    rows: Sequence[tuple[Any, ...]],
    otherwise: str = "",
) -> None:
    # One statement for as many as it takes. For each statement the driver lets go of the interpreter, so that rows
    # inserted one by one make an event loop in the same process wait as often.
    names = _quoted(connection, columns)
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    row = f"({', '.join([mark] * len(names))})"
    into = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES"
    most = VALUES // len(names)
    for start in range(0, len(rows), most):
        some = rows[start : start + most]
        statement = f"{into} {', '.join([row] * len(some))}{otherwise}"
        connection.exec_driver_sql(statement, tuple(chain.from_iterable(some)))


def _quoted(connection: Connection, names: Iterable[str]) -> list[str]:
    return [connection.dialect.identifier_preparer.quote(each) for each in names]
