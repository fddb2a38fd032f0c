"""Rows of any number, a few at a time: what reads a whole table keeps no more of it in memory."""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, Row, Select

ROWS: Final = 1000
"""How many rows are handed on at once."""
BYTES: Final = 4 << 20
"""How much of what was sent: the signal that reaches it is the last of its batch."""
FETCHED: Final = 100
"""How many rows are fetched from the database at once."""


def batches(connection: Connection, statement: Select[Any]) -> Iterator[list[Row[Any]]]:
    """The rows of a statement in batches, none of them empty."""
    sent = "body" in statement.selected_columns
    batch: list[Row[Any]] = []
    size = 0
    for row in connection.execute(statement.execution_options(yield_per=FETCHED)):
        batch.append(row)
        size += len(row.body) if sent else 0
        if len(batch) == ROWS or size >= BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
