"""The log's writer on PostgreSQL: a statement a table and group, and turns between nodes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg
from psycopg import Connection, Cursor
from psycopg.errors import (
    CheckViolation,
    Diagnostic,
    DivisionByZero,
    LockNotAvailable,
    UniqueViolation,
)
from psycopg.pq import Escaping

from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.log import (
    ORDERS_REVISION,
    Changes,
    Key,
    Overtaken,
    Row,
    Same,
    placed,
)
from cloudsignal.server.store.postgresql import driver, partitions
from cloudsignal.server.store.postgresql.arrays import Statement, statement
from cloudsignal.server.store.postgresql.watchdog import Watchdog

CHANNEL: Final = "cloudsignal"
"""Where every commit makes itself heard."""
GROUP_S: Final = 10.0
"""How long a statement, the commit and its way to the standby among them, may take."""

# One for the whole database: there is one store in it. The number is "cloudsig" in ASCII.
TURN: Final = "SELECT pg_advisory_xact_lock(7164775665041107303)"

KNOWN_FROM: Final = 1_000
"""The position from which on there is enough in the tables to plan by."""
_IS_UNKNOWN: Final = "SELECT reltuples < 0 FROM pg_class WHERE oid = 'items'::regclass"

_SESSION: Final = (
    # The best plan is one for any number of rows: look each up in its index. It is made once, and
    # on tables that may be empty then, where reading them whole looks cheap.
    "SET plan_cache_mode = force_generic_plan",
    "SET enable_seqscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET jit = off",
)
BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
_LAST_POSITION: Final = "SELECT coalesce(max(position), 0) FROM signals"
_IS_THERE: Final = "SELECT to_regclass(%s) IS NOT NULL"
_SOON: Final = "SET LOCAL lock_timeout = '100ms'"
# Nothing but a commit that waits for the disk and the standby: what was committed before is there then.
_CONFIRM: Final = f"{BEGIN}; SELECT pg_logical_emit_message(true, 'cloudsignal', ''); COMMIT"
# A turn waits for neither, so that the next one can begin; whoever had it waits after it.
_BEGIN_TURN: Final = f"{BEGIN}; SET LOCAL synchronous_commit = off; {TURN}"
_END_TURN: Final = f"COMMIT; {_CONFIRM}"

# The number that grows with every registration, which is compared again when the group is written.
_REVISION: Final = (
    f"coalesce((SELECT value::bigint FROM facts WHERE name = '{ORDERS_REVISION}'), 0)"
)
_REGISTERED: Final = statement(
    "registered",
    f"""
    SELECT known.revision, found."order", coalesce(found.partner, 0)
    FROM (SELECT {_REVISION} AS revision) AS known
    LEFT JOIN (
        {{orders}} AS wanted ("order") JOIN orders AS found ON found."order" = wanted."order"
    ) ON true
    """,
    orders="text",
)
_LOAD: Final = statement(
    "load",
    'SELECT i."order", i.item, i.id, i.partner, s.position, s.summary'
    ' FROM {keys} AS wanted ("order", item)'
    ' JOIN items i ON i."order" = wanted."order" AND i.item = wanted.item'
    " JOIN states s ON s.item = i.id",
    keys="text text",
)
# No signal stands before the first one of its item, whose position is the item's number.
_KNOWN: Final = statement(
    "known",
    "SELECT s.item, s.type, s.datetime, s.interface, s.fingerprint, s.position"
    " FROM {signals} AS wanted (item, type, datetime, interface, fingerprint)"
    " JOIN signals s ON s.item = wanted.item AND s.datetime = wanted.datetime"
    " AND s.fingerprint = wanted.fingerprint AND s.type = wanted.type"
    " AND s.interface = wanted.interface AND s.position >= wanted.item",
    signals="bigint text bigint bigint text",
)


def _placed(name: str) -> str:
    """A position or number, negative ones counted from the last position of the log."""
    return f"CASE WHEN new.{name} < 0 THEN last.position - new.{name} ELSE new.{name} END"


# All of a group in one statement. The first argument is a position that is known to be there: older parts
# of the log need not be looked at. The last ones are how many items there are to change, and the revision of
# what is registered, -1 for any. The end fails by dividing by zero if another node has changed one of
# the items since they were loaded, or orders were registered: the commit stands behind it in the same
# message, so what must not be committed has to fail.
_WRITE: Final = statement(
    "write",
    f"""
    WITH last AS (
        SELECT greatest(max(position), %s) AS position FROM signals WHERE position >= %s
    ), appended AS (
        INSERT INTO signals
        SELECT {_placed("position")}, {_placed("item")}, received, partner, interface, test, type,
            datetime, fingerprint, body
        FROM last, {{signals}} AS new (position, item, received, partner, interface, test, type,
            datetime, fingerprint, body)
    ), added AS (
        INSERT INTO items
        SELECT {_placed("id")}, "order", item, partner
        FROM last, {{items}} AS new (id, "order", item, partner)
    ), begun AS (
        INSERT INTO states
        SELECT {_placed("item")}, state, delayed, test, {_placed("position")}, updated, summary
        FROM last, {{states}} AS new (item, state, delayed, test, position, updated, summary)
    ), changed AS (
        UPDATE states SET state = new.state, delayed = new.delayed, test = new.test,
            position = {_placed("position")}, updated = new.updated, summary = new.summary
        FROM last, {{changed}} AS new (item, state, delayed, test, position, updated, summary, loaded)
        WHERE states.item = new.item AND states.position = new.loaded
        RETURNING 1
    ), named AS (
        INSERT INTO parcels
        SELECT tracking, {_placed("item")} FROM last, {{parcels}} AS new (tracking, item)
        ON CONFLICT DO NOTHING
    )
    SELECT position, pg_notify('{CHANNEL}', ''),
        1 / ((SELECT count(*) FROM changed) = %s AND %s::bigint IN (-1, {_REVISION}))::int
    FROM last
    """,
    signals="bigint bigint bigint bigint bigint boolean text bigint text text",
    items="bigint text text bigint",
    states="bigint text boolean boolean bigint bigint bytea",
    changed="bigint text boolean boolean bigint bigint bytea bigint",
    parcels="text bigint",
)


class Writer:
    """The one connection that appends to the log. Not for two threads at once."""

    def __init__(self, connect: Callable[[], "Connection[Any]"]) -> None:
        self._connect = connect
        self._connection: Connection[Any] | None = None
        self._watchdog = Watchdog()
        self._in_turn = False
        self._revision = -1
        """That of what is registered, as this transaction has seen it."""
        self._last = 0
        """A position that is known to be in the log."""
        self._look = 0
        """The position from which on there may be no next part of the log."""
        self._is_unsure = False
        """Whether a commit was told not to wait for the standby any longer."""
        self._may_be_unknown = True
        """Whether the database may never have looked at what is in its tables."""

    def close(self) -> None:
        """Give the connection back; the next transaction opens another one."""
        self._watchdog.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def transaction(self, *, alone: bool) -> Iterator[None]:
        """Everything inside is on disk at the end, or nothing of it is.

        Unless it is ``alone`` it begins with ``write``, which also ends it. Raises Overtaken then, and
        StoreUnavailable, also when the connection was lost in the commit and nobody knows.
        """
        self._in_turn = False
        self._revision = -1
        try:
            with driver.translated(), self._watchdog.over(self._open(), GROUP_S):
                if alone:
                    self._open().execute(_BEGIN_TURN)
                    self._in_turn = True
                yield
                if self._in_turn:
                    self._commit(_END_TURN)
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
            # The driver's own prepared statements are gone after each rollback, and ours with them.
            connection.prepare_threshold = None
            self._connection = connection
            # Nothing that was known holds: it may be another server, restored from a backup.
            self._last = self._look = 0
            connection.execute("; ".join(_SESSION))
            for each in (_REGISTERED, _LOAD, _KNOWN, _WRITE):
                connection.execute(each.preparation)
            self._may_be_unknown = True
        return self._connection

    def _get_known(self) -> None:
        """Have the database look at its tables, if it never did: its plans follow from that.

        It would do so by itself within a minute or two. Until then it takes the index of the items' names for
        as good as that of order and item, and every order may have an item of the same name.
        """
        self._may_be_unknown = False
        connection = self._open()
        (is_unknown,) = connection.execute(_IS_UNKNOWN).fetchone() or (False,)
        if is_unknown:
            with suppress(LockNotAvailable):  # Another one does it.
                connection.execute("ANALYZE items, states, parcels")

    def _note(self, notice: Diagnostic) -> None:
        # By the place in the server that says so: the sentence is in the server's language.
        self._is_unsure = self._is_unsure or notice.source_function == "SyncRepWaitForLSN"

    def _roll_back(self) -> None:
        try:
            self._open().execute("ROLLBACK")
        except psycopg.Error:
            self.close()

    def registered(self, orders: Sequence[str]) -> dict[str, int]:
        rows = self._asked(_REGISTERED, [(order,) for order in orders]).fetchall()
        self._revision = rows[0][0]
        return {order: partner for _, order, partner in rows if order is not None}

    def load(self, keys: Sequence[Key]) -> list[tuple[str, str, int, int, int, bytes]]:
        return self._asked(_LOAD, keys).fetchall()

    def known(self, signals: Sequence[Same]) -> dict[Same, int]:
        rows = self._asked(_KNOWN, signals).fetchall()
        return {(row[0], row[1], row[2], row[3], row[4]): row[5] for row in rows}

    def _asked(self, asking: Statement, rows: Sequence[Row]) -> "Cursor[Any]":
        return self._open().cursor(binary=True).execute(self._call(asking, asking.given(rows)))

    def _call(self, prepared: Statement, given: Sequence[str]) -> str:
        escaping = Escaping(self._open().pgconn)
        literals = [escaping.escape_literal(text.encode()).decode() for text in given]
        return f"EXECUTE {prepared.name} ({', '.join(literals)})"

    def last_position(self) -> int:
        (position,) = self._open().execute(_LAST_POSITION).fetchone() or (0,)
        return int(position)

    def write(self, changes: Changes) -> int:
        if self._last >= self._look:
            self._make_room(changes)
        arrays = _WRITE.given(
            changes.signals, changes.items, changes.states, changes.changed, changes.parcels
        )
        given = [
            str(self._last),
            str(self._last),
            *arrays,
            str(len(changes.changed)),
            str(self._revision),
        ]
        # In one message, which the server has before it begins: from the moment the lock is there
        # until it is given back it waits for nobody. A node that stops in between stops nobody.
        begin = "" if self._in_turn else f"{_BEGIN_TURN}; "
        try:
            found = self._commit(f"{begin}{self._call(_WRITE, given)}; {_END_TURN}")
        except (UniqueViolation, DivisionByZero):
            raise Overtaken from None
        except CheckViolation:
            self._look = 0  # There is no part of the log for these positions: far too long a jump.
            raise Overtaken from None
        self._in_turn = False
        [self._last] = found
        if self._may_be_unknown and self._last >= KNOWN_FROM:
            self._get_known()
        return self._last

    def confirm(self) -> None:
        self._commit(_CONFIRM)

    def _commit(self, statements: str) -> list[int]:
        """Run statements of which the last is a commit: the whole numbers that they answer."""
        self._is_unsure = False
        answers = self._open().execute(statements)
        found: list[int] = []
        while True:
            if answers.description:
                found += [row[0] for row in answers.fetchall() if isinstance(row[0], int)]
            if not answers.nextset():
                break
        if self._is_unsure:
            # It is on this disk, and would be lost with it.
            raise StoreUnavailable("the commit has not reached the synchronous standby")
        return found

    def _make_room(self, changes: Changes) -> None:
        """Begin the part of the log that the next positions are in, and the one after it."""
        last = max(self._last, self.last_position())
        positions = [placed(row[0], last) for row in (*changes.signals[:1], *changes.signals[-1:])]
        first, end = min(positions, default=last + 1), max(positions, default=last + 1)
        size = partitions.SIGNALS
        needed = range(partitions.start_of(first), end + size + 1, size)
        try:
            with self._open().transaction():
                if not self._in_turn:
                    self._open().execute(f"{TURN}; {_SOON}")
                for start in needed:
                    self._begin_part(start)
            self._look = partitions.start_of(end) + size
        except LockNotAvailable:
            if self._in_turn:
                raise
            # Somebody vacuums or prunes. There is time, as long as there is a part for these.
            self._look = end + size // 100

    def _begin_part(self, start: int) -> None:
        connection = self._open()
        (is_there,) = connection.execute(_IS_THERE, (partitions.name(start),)).fetchone() or (0,)
        if not is_there:
            for making in partitions.make(start):
                connection.execute(making)
