"""What SQLite itself takes: `executemany` of the rows a server has just written.

The limit runs on a copy of the store the server began with and inserts the very rows the server
added to it, into the very table, with its indexes. It decodes nothing, checks nothing, keeps no
items and answers nobody.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

Rows = list[tuple[Any, ...]]

# SQLite's defaults, a small cache and a checkpoint every 4 MB, would hold the limit back and
# flatter us: so a larger WAL and a larger cache than the store gives itself.
PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "wal_autocheckpoint = 16384",
    "cache_size = -65536",
)


@contextmanager
def connected(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        yield connection


def last_position(database: Path) -> int:
    with connected(database) as connection:
        (found,) = connection.execute("SELECT max(position) FROM signals").fetchone()
        return int(found)


def rows_after(database: Path, position: int) -> Rows:
    with connected(database) as connection:
        return connection.execute(
            f"SELECT {columns(connection)} FROM signals WHERE position > ? ORDER BY position",
            (position,),
        ).fetchall()


def columns(connection: sqlite3.Connection) -> str:
    # table_info leaves generated columns out, which could not be inserted.
    names = [row[1] for row in connection.execute("PRAGMA table_info(signals)")]
    return ", ".join(f'"{name}"' for name in names)


def insert_rate(database: Path, rows: Rows, rows_per_commit: int) -> float:
    """Rows a second."""
    with connected(database) as connection:
        marks = ", ".join("?" * len(rows[0]))
        insert = f"INSERT INTO signals ({columns(connection)}) VALUES ({marks})"
        started = time.perf_counter()
        for start in range(0, len(rows), rows_per_commit):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert, rows[start : start + rows_per_commit])
            connection.execute("COMMIT")
        return len(rows) / (time.perf_counter() - started)
