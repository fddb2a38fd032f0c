"""The log's writer on SQLite: a few statements a group, straight to the driver."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from cloudsignal import files
from cloudsignal.server.store.log import Changes, Key, Row, Same, placed
from cloudsignal.server.store.sqlite import driver

ID_BATCH: Final = 250
"""How many items or orders are looked up by one statement."""


_SAME: Final = (
    "SELECT position FROM signals"
    " WHERE item = ? AND type = ? AND datetime = ? AND interface = ? AND fingerprint = ?"
)
_APPEND: Final = "INSERT INTO signals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ADD_ITEM: Final = "INSERT INTO items VALUES (?, ?, ?, ?)"
_ADD_STATE: Final = "INSERT INTO states VALUES (?, ?, ?, ?, ?, ?, ?)"
_CHANGE_STATE: Final = (
    "UPDATE states SET state = ?, delayed = ?, test = ?, position = ?, updated = ?, summary = ?"
    " WHERE item = ? AND position = ?"
)
_ADD_PARCEL: Final = "INSERT INTO parcels (tracking, item) VALUES (?, ?) ON CONFLICT DO NOTHING"


_IS_ANY_REGISTERED: Final = "SELECT EXISTS (SELECT 1 FROM orders)"


@cache
def _registered_statement(orders: int) -> str:
    values = ", ".join(["(?)"] * orders)
    return (
        f"WITH wanted(o) AS (VALUES {values})"
        ' SELECT "order", coalesce(partner, 0) FROM wanted CROSS JOIN orders ON "order" = o'
    )


@cache
def _load_statement(keys: int) -> str:
    # Joined in this order, the index finds each item; `(order, item) IN (VALUES …)` reads the whole
    # table instead.
    values = ", ".join(["(?, ?)"] * keys)
    return (
        f"WITH wanted(o, i) AS (VALUES {values})"
        ' SELECT "order", items.item, id, partner, position, summary FROM wanted'
        ' CROSS JOIN items ON "order" = o AND items.item = i CROSS JOIN states ON states.item = id'
    )


class Writer:
    """The one connection that appends to the log. Not for two threads at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._file = 0

    def close(self) -> None:
        """Give the connection back; the next transaction opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def transaction(self, *, alone: bool) -> Iterator[None]:
        """Everything inside is on disk at the end, or nothing of it is. It is always alone.

        Raises StoreUnavailable. Whatever went wrong, the next transaction begins on a new
        connection: a read-only file that is writable again, a full disk that has room again and a
        file that came back need no restart.
        """
        try:
            with driver.translated():
                self._leave_what_moved()
                files.begin(self._open())
                yield
                self._open().execute("COMMIT")
        except BaseException:
            self.close()
            raise

    def _leave_what_moved(self) -> None:
        """Close a file that is not the store any more: moved away, deleted, or replaced by another.

        It could still be written to, and nobody would ever find what was acknowledged.
        """
        if self._connection is not None and files.number_of(self._path) != self._file:
            self.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._file = files.number_of(self._path)
            self._connection = driver.connect(self._path, cache_kib=driver.WRITER_CACHE_KIB)
        return self._connection

    def registered(self, orders: Sequence[str]) -> dict[str, int]:
        (is_any,) = self._open().execute(_IS_ANY_REGISTERED).fetchone()
        found: dict[str, int] = {}
        for start in range(0, len(orders) if is_any else 0, ID_BATCH):
            batch = orders[start : start + ID_BATCH]
            found.update(self._open().execute(_registered_statement(len(batch)), batch))
        return found

    def load(self, keys: Sequence[Key]) -> list[tuple[str, str, int, int, int, bytes]]:
        found: list[tuple[str, str, int, int, int, bytes]] = []
        for start in range(0, len(keys), ID_BATCH):
            batch = keys[start : start + ID_BATCH]
            flat = [part for key in batch for part in key]
            found += self._open().execute(_load_statement(len(batch)), flat).fetchall()
        return found

    def known(self, signals: Sequence[Same]) -> dict[Same, int]:
        found = ((same, self._open().execute(_SAME, same).fetchone()) for same in signals)
        return {same: row[0] for same, row in found if row is not None}

    def last_position(self) -> int:
        (position,) = self._open().execute("SELECT max(position) FROM signals").fetchone()
        return position or 0

    def confirm(self) -> None:
        """Nothing: what can be read here is on disk."""

    def write(self, changes: Changes) -> int:
        last = self.last_position()
        connection = self._open()
        connection.executemany(
            _APPEND,
            [
                (placed(position, last), placed(item, last), *rest)
                for position, item, *rest in changes.signals
            ],
        )
        connection.executemany(
            _ADD_ITEM, [(placed(number, last), *rest) for number, *rest in changes.items]
        )
        connection.executemany(_ADD_STATE, _states(changes.states, last))
        connection.executemany(
            _CHANGE_STATE,
            [(*new, item, before) for item, *new, before in _states(changes.changed, last)],
        )
        connection.executemany(
            _ADD_PARCEL, [(tracking, placed(item, last)) for tracking, item in changes.parcels]
        )
        return last


def _states(rows: Sequence[Row], last: int) -> list[Row]:
    return [
        (placed(item, last), state, delayed, test, placed(position, last), *rest)
        for item, state, delayed, test, position, *rest in rows
    ]
