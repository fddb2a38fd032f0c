"""The log's writer on PostgreSQL: a statement a table and group, and turns between nodes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import Connection, Cursor
from psycopg.errors import Diagnostic, DivisionByZero, LockNotAvailable, UniqueViolation

from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.log import Key, Overtaken, Row, Same
from cloudsignal.server.store.postgresql import driver, partitions
from cloudsignal.server.store.postgresql.arrays import Statement, statement

CHANNEL: Final = "cloudsignal"
"""Where every commit tells its last position."""
TURN_WAIT_S: Final = 5
"""How long to wait for the other nodes' turns."""
TURN_S: Final = 5
"""How long a node may do nothing in its turn before the server ends it: it may be gone."""
STATEMENT_S: Final = 10
"""How long a statement, the commit among them, may take."""

# One for the whole database: there is one store in it. The number is "cloudsig" in ASCII.
TURN: Final = "SELECT pg_advisory_xact_lock(7164775665041107303)"

_SESSION: Final = (
    f"SET lock_timeout = '{TURN_WAIT_S}s'",
    f"SET idle_in_transaction_session_timeout = '{TURN_S}s'",
    f"SET statement_timeout = '{STATEMENT_S}s'",
    # The best plan is one for any number of rows: look each up in its index. It is made once, and
    # on tables that may be empty then, where reading them whole looks cheap.
    "SET plan_cache_mode = force_generic_plan",
    "SET enable_seqscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET jit = off",
)
BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
# From a position on that is known to be there: so the older parts of the log are not even opened.
_LAST_POSITION: Final = "SELECT max(position) FROM signals WHERE position >= {}"
_TELL: Final = "SELECT pg_notify(%s, %s)"
_IS_THERE: Final = "SELECT to_regclass(%s) IS NOT NULL"
_SOON: Final = "SET LOCAL lock_timeout = '100ms'"

_LOAD: Final = statement(
    'SELECT i."order", i.item, i.id, i.partner, s.position, s.summary'
    ' FROM {rows} AS wanted ("order", item)'
    ' JOIN items i ON i."order" = wanted."order" AND i.item = wanted.item'
    " JOIN states s ON s.item = i.id",
    "text text",
)
# No signal stands before the first one of its item, whose position is the item's number.
_KNOWN: Final = statement(
    "SELECT s.item, s.type, s.datetime, s.interface, s.fingerprint, s.position"
    " FROM {rows} AS wanted (item, type, datetime, interface, fingerprint)"
    " JOIN signals s ON s.item = wanted.item AND s.datetime = wanted.datetime"
    " AND s.fingerprint = wanted.fingerprint AND s.type = wanted.type"
    " AND s.interface = wanted.interface AND s.position >= wanted.item",
    "bigint text bigint bigint text",
)
_APPEND: Final = statement(
    "INSERT INTO signals SELECT * FROM {rows}",
    "bigint bigint bigint bigint bigint boolean text bigint text text",
)
_ADD_ITEMS: Final = statement(
    "INSERT INTO items SELECT * FROM {rows}",
    "bigint text text bigint",
)
_ADD_STATES: Final = statement(
    "INSERT INTO states SELECT * FROM {rows}",
    "bigint text boolean boolean bigint bigint bytea",
)
_CHANGE_STATES: Final = statement(
    "UPDATE states s SET state = new.state, delayed = new.delayed, test = new.test,"
    " position = new.position, updated = new.updated, summary = new.summary"
    " FROM {rows} AS new (item, state, delayed, test, position, updated, summary, loaded)"
    " WHERE s.item = new.item AND s.position = new.loaded RETURNING 1",
    "bigint text boolean boolean bigint bigint bytea bigint",
)
# Fails by dividing by zero if another node has changed one of the items: the commit stands in the same
# message as the statements before it, so what must not be committed has to fail.
_ALL_CHANGED: Final = "WITH changed AS ({}) SELECT 1 / (count(*) = %s)::int FROM changed"
_ADD_PARCELS: Final = statement(
    "INSERT INTO parcels (tracking, item) SELECT * FROM {rows} ON CONFLICT DO NOTHING",
    "text bigint",
)


class Writer:
    """The one connection that appends to the log. Not for two threads at once."""

    def __init__(self, connect: Callable[[], "Connection[Any]"]) -> None:
        self._connect = connect
        self._connection: Connection[Any] | None = None
        self._in_turn = False
        self._room = 0
        """Up to where there are parts for positions, as far as is known."""
        self._look = 0
        """From where on to see to the next part."""
        self._last = 0
        self._warned = False
        self._writes: list[tuple[str, Sequence[Any]]] = []

    def close(self) -> None:
        """Give the connection back; the next transaction opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def transaction(self, *, alone: bool) -> Iterator[None]:
        """Everything inside is on disk at the end, or nothing of it is.

        It begins when the turn is taken: with ``last_position``, or at once to be ``alone``. Raises
        StoreUnavailable, also when the connection was lost in the commit and nobody knows.
        """
        self._writes = []
        self._in_turn = False
        try:
            with driver.translated():
                if alone:
                    self._take_turn()
                yield
                if self._in_turn:
                    self._commit()
        except Overtaken:
            self._roll_back()
            raise
        except BaseException:
            self.close()
            raise

    def _open(self) -> "Connection[Any]":
        if self._connection is None:
            connection = self._connect()
            connection.add_notice_handler(self._note)
            self._connection = connection
            # Nothing that was known holds: it may be another server, restored from a backup.
            self._room = self._look = self._last = 0
            with connection.pipeline():
                for setting in _SESSION:
                    connection.execute(setting)
        return self._connection

    def _note(self, notice: Diagnostic) -> None:
        self._warned = self._warned or notice.severity_nonlocalized == "WARNING"

    def _take_turn(self) -> None:
        # In one message, but not in a pipeline: after that of this driver the server no longer
        # watches for how long nothing comes.
        connection = self._open()
        last = _LAST_POSITION.format(self._last)
        answers = connection.execute(f"{BEGIN}; {TURN}; {last}")
        while answers.nextset():
            pass
        (position,) = answers.fetchone() or (None,)
        self._last = position or 0
        self._in_turn = True

    def _roll_back(self) -> None:
        try:
            self._open().execute("ROLLBACK")
            self._room = self._look = 0  # What was made for this group is gone as well.
        except psycopg.Error:
            self.close()

    def _commit(self) -> None:
        """Send everything and the commit in one message: nobody waits for us in between."""
        connection = self._open()
        self._warned = False
        try:
            with connection.pipeline():
                for text, given in self._writes:
                    connection.execute(text, given, prepare=True)
                connection.execute("COMMIT")
        except (UniqueViolation, DivisionByZero):
            raise Overtaken from None
        if self._warned:
            # The one warning of a commit: it was told not to wait for its standby any longer, by
            # a timeout or by a person. It is here, and would be lost if this server was.
            raise StoreUnavailable("the commit has not reached the synchronous standby")

    def load(self, keys: Sequence[Key]) -> list[tuple[str, str, int, int, int, bytes]]:
        return self._asked(_LOAD, keys).fetchall()

    def known(self, signals: Sequence[Same]) -> dict[Same, int]:
        rows = self._asked(_KNOWN, signals).fetchall()
        return {(row[0], row[1], row[2], row[3], row[4]): row[5] for row in rows}

    def _asked(self, asking: Statement, rows: Sequence[Row]) -> "Cursor[Any]":
        cursor = self._open().cursor(binary=True)
        return cursor.execute(asking.text, asking.given(rows), prepare=True)

    def last_position(self) -> int:
        if not self._in_turn:
            self._take_turn()
        return self._last

    def append(self, rows: Sequence[Row]) -> None:
        last = rows[-1][0]
        self._make_room(rows[0][0], last)
        self._add(_APPEND, rows)
        self._writes.append((_TELL, (CHANNEL, str(last))))

    def add_items(self, rows: Sequence[Row]) -> None:
        self._add(_ADD_ITEMS, rows)

    def add_states(self, rows: Sequence[Row]) -> None:
        self._add(_ADD_STATES, rows)

    def change_states(self, rows: Sequence[Row]) -> None:
        given = [*_CHANGE_STATES.given(rows), len(rows)]
        self._writes.append((_ALL_CHANGED.format(_CHANGE_STATES.text), given))

    def add_parcels(self, rows: Sequence[Row]) -> None:
        self._add(_ADD_PARCELS, rows)

    def _add(self, each: Statement, rows: Sequence[Row]) -> None:
        self._writes.append((each.text, each.given(rows)))

    def _make_room(self, first: int, last: int) -> None:
        """Begin the parts of the log that a group needs, and the next one before it is needed."""
        size = partitions.SIGNALS
        if last >= self._room:
            for start in range(partitions.start_of(first), last + 1, size):
                self._begin_part(start)
            self._room = partitions.start_of(last) + size
            self._look = self._room - size // 2
        if last >= self._look:
            try:
                with self._open().transaction():
                    self._open().execute(_SOON)
                    self._begin_part(self._room)
                self._room += size
                self._look = self._room - size // 2
            except LockNotAvailable:
                # Somebody vacuums or prunes. There is time.
                self._look = last + size // 100

    def _begin_part(self, start: int) -> None:
        connection = self._open()
        (is_there,) = connection.execute(_IS_THERE, (partitions.name(start),)).fetchone() or (0,)
        if not is_there:
            for making in partitions.make(start):
                connection.execute(making)
