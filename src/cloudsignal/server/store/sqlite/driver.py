"""SQLite through its own driver: how to connect to a store, and what its errors say."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cloudsignal import files
from cloudsignal.server.store.errors import StoreDamaged, StoreUnavailable

WRITER_CACHE_KIB: Final = 24 * 1024
"""How much of the store the writing connection keeps in memory."""
READER_CACHE_KIB: Final = 2 * 1024
WAL_PAGES: Final = 8_000
"""After how many pages the write-ahead log is folded into the database. A longer one is slower: every
page that is read is first looked for in it."""


def connect(path: Path, *, cache_kib: int) -> sqlite3.Connection:
    """A connection with every signal on disk before a commit returns. It never makes the file."""
    connection = files.connect(path)
    try:
        for pragma in (
            f"wal_autocheckpoint={WAL_PAGES}",
            f"cache_size=-{cache_kib}",
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


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
