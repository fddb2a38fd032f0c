"""SQLite through its own driver: how to connect to a store, and what its errors say."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cloudsignal.server.store.errors import StoreDamaged, StoreUnavailable

BUSY_S: Final = 5.0
"""How long a connection waits for another program that holds the store."""
BUSY_PAUSE_S: Final = 0.001
"""How often it looks again where we wait and not SQLite."""
WRITER_CACHE_KIB: Final = 24 * 1024
"""How much of the store the writing connection keeps in memory."""
READER_CACHE_KIB: Final = 2 * 1024
WAL_PAGES: Final = 8_000
"""After how many pages the write-ahead log is folded into the database. A longer one is slower: every
page that is read is first looked for in it."""


def connect(path: Path, *, cache_kib: int) -> sqlite3.Connection:
    """A connection with every signal on disk before a commit returns.

    It never makes the file: a store that went away must not come back empty.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        # Once for every store, and a thing that SQLite does not wait for others to let it do: of two
        # programs that start together on a new store, one would be told that it is locked.
        _insist(connection, "PRAGMA journal_mode=WAL")
        for pragma in (
            "synchronous=FULL",
            f"wal_autocheckpoint={WAL_PAGES}",
            f"cache_size=-{cache_kib}",
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def begin(connection: sqlite3.Connection) -> None:
    """Begin a transaction that writes, alone among writers. Raises OperationalError.

    SQLite itself would look less and less often whether the store is free, and hardly ever meet the
    gaps that a busy server leaves between its groups.
    """
    connection.execute("PRAGMA busy_timeout=0")
    try:
        _insist(connection, "BEGIN IMMEDIATE")
    finally:
        connection.execute(f"PRAGMA busy_timeout={round(BUSY_S * 1000)}")


def _insist(connection: sqlite3.Connection, statement: str) -> None:
    """Execute a statement once others let us."""
    end = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(BUSY_PAUSE_S)
        else:
            return


def number_of(path: Path) -> int:
    """The number by which the system knows the file at a path. Raises OperationalError."""
    try:
        return path.stat().st_ino
    except OSError:
        raise sqlite3.OperationalError(f"{path} is gone") from None


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver says of a store that is away into StoreUnavailable."""
    try:
        yield
    except sqlite3.Error as error:
        if found := unavailable(error):
            raise found from error
        raise


def unavailable(cause: BaseException | None) -> StoreUnavailable | None:
    """The error that says so in a sentence, unless the cause is a mistake of ours."""
    if isinstance(cause, sqlite3.OperationalError):
        return StoreUnavailable(f"the store cannot be used just now: {cause}")
    # The class itself is what a damaged file raises; those below it tell of wrong statements.
    if type(cause) is sqlite3.DatabaseError:
        return StoreDamaged(str(cause))
    return None
