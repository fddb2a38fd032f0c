"""Rows of any number, a few at a time: what reads a whole table keeps no more of it in memory."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Row, Select

ROWS: Final = 1000
"""How many rows are handed on at once."""
BYTES: Final = 4 << 20
"""How much of what was sent: the signal that reaches it is the last of its batch."""
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
