"""What a log holds as one number, the same wherever it is stored."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Row, Select, func, select

from cloudsignal.server.store import facts
from cloudsignal.server.store.batches import ROWS, batches
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.progress import Progress, silent
from cloudsignal.server.store.schema import signals

DIGEST_BYTES: Final = 32

# MessagePack has one way to write a whole number, a truth value or a text and says how long each is,
# so two logs are written the same only if they are the same.
_encode: Final = msgspec.msgpack.Encoder().encode


class Digest(Struct, frozen=True):
    """A log: how many signals there are from where to where, and what follows from all of them."""

    signals: int
    first: int
    last: int
    value: str
    """BLAKE2b over every signal in the order of the log, each a MessagePack array of its columns."""


class LogDigest:
    """The digest of a log that is read piece by piece, beyond a position."""

    def __init__(self, after: int = 0) -> None:
        self.after = after
        """Where reading goes on: the position of the last signal taken in."""
        self.signals = 0
        """How many were taken in."""
        self._first = 0
        self._hash = blake2b(digest_size=DIGEST_BYTES)

    def add(self, rows: Sequence[Row[Any]]) -> None:
        """Take in the next signals: the columns of the log in their order."""
        self._hash.update(b"".join([_encode(tuple(row)) for row in rows]))
        self._first = self._first or rows[0].position
        self.signals += len(rows)
        self.after = rows[-1].position

    def read(
        self,
        connection: Connection,
        *,
        until: int,
        limit: int | None = None,
        progress: Callable[[int], None],
    ) -> None:
        """Take in what stands in the log from here to a position, or the next ``limit`` of it.

        ``progress`` is told after every batch how many signals have been taken in.
        """
        with batches(connection, beyond(self.after, until).limit(limit)) as found:
            for rows in found:
                self.add(rows)
                progress(self.signals)

    def digest(self) -> Digest:
        """What was taken in until now."""
        last = self.after if self.signals else 0
        return Digest(self.signals, self._first, last, self._hash.hexdigest())


def digest(database: Database, *, progress: Progress = silent) -> Digest:
    """The digest of the log as it is now, read in small steps beside the server.

    Raises StoreUnavailable, also when signals were pruned in the middle of it.
    """
    with database.reading() as connection:
        begin = facts.pruned(connection)
        until = connection.scalar(select(func.max(signals.c.position))) or 0
        total = count(connection, begin, until)
    log = LogDigest(begin)
    while log.after < until:
        with database.reading() as connection:
            if facts.pruned(connection) != begin:
                raise StoreUnavailable("signals were pruned meanwhile: run this again")
            log.read(
                connection, until=until, limit=ROWS, progress=lambda done: progress(done, total)
            )
    return log.digest()


def beyond(after: int, until: int) -> Select[Any]:
    """The rows of the log from behind one position to another one, in their order."""
    between = signals.c.position > after, signals.c.position <= until
    return select(signals).where(*between).order_by(signals.c.position)


def count(connection: Connection, after: int, until: int) -> int:
    """How many rows these are."""
    between = signals.c.position > after, signals.c.position <= until
    return connection.scalar(select(func.count()).select_from(signals).where(*between)) or 0
