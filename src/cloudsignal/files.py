"""Files of SQLite: what the store's and the outbox's have in common."""

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

BUSY_S: Final = 5.0
"""How long a connection waits for another program that holds the file."""
BUSY_PAUSE_S: Final = 0.001
"""How often it looks again where we wait and not SQLite."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose commits are on disk when they return, for one thread at a time.

    Raises OperationalError when there is no file: one that went away must not come back empty.
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
        # Once for every file, and a thing that SQLite does not wait for others to let it do: of two
        # programs that start together on a new one, one would be told that it is locked.
        _insist(connection, "PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except BaseException:
        connection.close()
        raise
    return connection


IMPATIENT: Final = "busy_timeout=0"
"""The pragma of a connection that only writes: begin_writing waits for others, and SQLite need not."""


def begin(connection: sqlite3.Connection) -> None:
    """Begin a transaction that writes, alone among writers, on a connection that also reads.

    Raises OperationalError.
    """
    connection.execute(f"PRAGMA {IMPATIENT}")
    try:
        begin_writing(connection)
    finally:
        connection.execute(f"PRAGMA busy_timeout={round(BUSY_S * 1000)}")


def begin_writing(connection: sqlite3.Connection) -> None:
    """The same on a connection that is IMPATIENT.

    SQLite itself would look less and less often whether the file is free, and hardly ever meet the
    gaps that a busy program leaves between its transactions.
    """
    _insist(connection, "BEGIN IMMEDIATE")


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


def may_be_opened(path: Path) -> bool:
    """Whether this user can open a file, and nobody is locked out by that.

    SQLite makes two files beside it. Those of a user who may not write the file itself would stay, and keep away those
    who may. Where somebody has it open they are there already.
    """
    is_open = path.with_name(f"{path.name}-shm").exists()
    return is_open or (_may_write(path) and _may_write(path.parent))


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def size_bytes(path: Path) -> int:
    """What a file takes on the disk, with what was not moved into it yet. Raises OSError."""
    size = path.stat().st_size
    with suppress(FileNotFoundError):
        size += path.with_name(f"{path.name}-wal").stat().st_size
    return size
