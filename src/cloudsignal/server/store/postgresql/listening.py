"""Hearing of commits: PostgreSQL tells every session that listens."""

from typing import Any

from psycopg import Connection, sql

from cloudsignal.server.store.postgresql import driver
from cloudsignal.server.store.postgresql.writer import CHANNEL


class Listening:
    """A connection that does nothing but listen."""

    def __init__(self, connection: "Connection[Any]") -> None:
        self._connection = connection
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))

    def fileno(self) -> int:
        return self._connection.fileno()

    def heard(self) -> bool:
        # Straight from libpq: the driver's own way waits, and this is called on an event loop.
        heard = False
        with driver.translated():
            self._connection.pgconn.consume_input()
            while self._connection.pgconn.notifies() is not None:
                heard = True
        return heard

    def close(self) -> None:
        self._connection.close()
