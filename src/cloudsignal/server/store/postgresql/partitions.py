"""The parts of the log: each holds so many positions, and can be dropped as a whole.

A part is begun long before it is needed. It is made as a table of its own and then attached, which
waits for no reader and keeps none waiting. It goes the same way back: detached first, which waits for
those who are reading and keeps nobody waiting, and then dropped.
"""

from typing import Any, Final

from psycopg import Connection

SIGNALS: Final = 5_000_000
"""How many positions one part holds: a gigabyte or two, a few days of a busy platform."""


def start_of(position: int) -> int:
    """Where the part begins that holds a position."""
    return position - position % SIGNALS


def name(start: int) -> str:
    """The table that holds the part which begins there."""
    return f"signals_{start}"


def make(position: int) -> tuple[str, ...]:
    """The statements that make the part for a position."""
    start = start_of(position)
    return (
        f"CREATE TABLE {name(start)} (LIKE signals INCLUDING DEFAULTS)",
        f"ALTER TABLE signals ATTACH PARTITION {name(start)}"
        f" FOR VALUES FROM ({start}) TO ({start + SIGNALS})",
    )


_ATTACHED: Final = """
SELECT relname, inhdetachpending FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'signals'::regclass
AND substring(pg_get_expr(relpartbound, inhrelid) FROM 'TO \\(''(\\d+)''\\)')::bigint <= %s + 1
ORDER BY inhdetachpending DESC, inhrelid
"""
"""The parts without a position beyond one. One that is half detached comes first: while there is
such a one no other can be detached."""

_DETACHED: Final = """
SELECT relname FROM pg_class WHERE relname ~ '^signals_[0-9]+$' AND relkind = 'r'
AND NOT relispartition AND substring(relname FROM '[0-9]+')::bigint <= %s
AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'signals'::regclass)
"""
"""What was a part, and was to be dropped when that was interrupted."""


def drop(connection: "Connection[Any]", until: int) -> None:
    """Drop the parts without a position beyond one, outside of any transaction.

    What an earlier run began and did not end is ended as well.
    """
    for part, is_half_detached in connection.execute(_ATTACHED, (until,)).fetchall():
        how = "FINALIZE" if is_half_detached else "CONCURRENTLY"
        connection.execute(f"ALTER TABLE signals DETACH PARTITION {part} {how}")
    for (part,) in connection.execute(_DETACHED, (until,)).fetchall():
        connection.execute(f"DROP TABLE {part}")
