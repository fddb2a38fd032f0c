"""The file of an outbox: every signal that was put, and what became of it. The one place that knows its SQL.

A file is shared by any number of threads and processes. What is put is on disk before ``put`` returns; what became
of a signal may be lost with the machine, and then it is sent once more, which is safe.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

import msgspec
from msgspec import Struct

from cloudsignal import files
from cloudsignal.partner.errors import OutboxFull, OutboxUnusable
from cloudsignal.partner.outbox.line import Line

_encode: Final = msgspec.json.Encoder().encode
T = TypeVar("T")
State = Literal["waiting", "sent", "refused", "discarded"]
STATES: Final[tuple[State, ...]] = get_args(State)

VERSION: Final = 1
APPLICATION: Final = 0x436C4F42  # "ClOB" in ASCII: by this, a file is known to be an outbox.
BYTES_MAX: Final = 1 << 30
"""How large a file may become, unless it is said otherwise: some millions of signals."""
PAGE_BYTES: Final = 4096
LISTED_MAX: Final = 1000
_ALWAYS: Final = 1 << 62
PRUNED_AT_ONCE: Final = 1000
"""How many old signals are removed in one transaction, so that nobody waits long for it."""

_TABLES: Final = f"""
    CREATE TABLE signals (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        "order" TEXT NOT NULL,
        item TEXT NOT NULL,
        type TEXT NOT NULL,
        body BLOB NOT NULL,
        put INTEGER NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting',
        settled INTEGER,
        info TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE INDEX signals_waiting ON signals (id) WHERE state = 'waiting';
    CREATE INDEX signals_refused ON signals (id) WHERE state = 'refused';
    CREATE INDEX signals_settled ON signals (settled) WHERE state IN ('sent', 'discarded');
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    PRAGMA application_id = {APPLICATION};
    PRAGMA user_version = {VERSION};
"""
# One statement for all rows: with one for each, as many times would the interpreter's lock be given up and fought for.
_INSERT: Final = """
    INSERT INTO signals ("order", item, type, body, put)
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
        CAST(json_extract(value, '$[3]') AS BLOB), ? FROM json_each(?)
"""
_SHOWN: Final = 'id, "order", item, type, put, state, settled, info, body'


class Entry(Struct, frozen=True):
    """One signal of an outbox.

    ``put`` is when it was put, ``settled`` when it was sent, refused or discarded, both in microseconds since 1970;
    ``info`` the server's sentence when it was refused; ``signal`` the signal as JSON.
    """

    id: int
    order: str
    item: str
    type: str
    put: int
    state: State
    settled: int | None
    info: str
    signal: msgspec.Raw


class Waiting(Struct, frozen=True):
    """A signal to be sent."""

    id: int
    order: str
    body: bytes


class Given(Struct, frozen=True):
    """A signal to be put."""

    order: str
    item: str
    type: str
    body: bytes


class Trouble(Struct, frozen=True):
    """Why nothing gets through: the sentence, since when (microseconds since 1970), and how many tries ago."""

    info: str
    since: int
    tries: int


class Health(Struct, frozen=True):
    """How an outbox is doing.

    ``waiting`` and ``refused`` count signals, ``oldest`` is when the first that waits was put (microseconds since
    1970); ``paused`` says why nothing is sent until somebody resumes it, ``trouble`` why sending fails.
    """

    waiting: int
    refused: int
    oldest: int | None
    paused: str | None
    trouble: Trouble | None
    file_bytes: int


class File:
    """An outbox's file, opened. For any number of threads, and after a fork in both processes."""

    def __init__(self, path: Path, *, bytes_max: int | None = None, durable: bool = True) -> None:
        """Open it, or make it. Without ``durable`` a commit may be lost with the machine.

        ``bytes_max`` limits what is put here; whoever sends has no limit, or could not note what it has sent. Raises
        OutboxUnusable when it is something else.
        """
        self.path = path.resolve()
        limit = [] if bytes_max is None else [f"max_page_count={max(1, bytes_max // PAGE_BYTES)}"]
        own = [*limit, files.IMPATIENT, f"synchronous={'FULL' if durable else 'NORMAL'}"]
        _create(self.path)
        self._writer = Line(self.path, _bring_up_to_date, own)
        # Apart from the other: who counts a million signals must not keep those waiting who put one.
        self._reader = Line(self.path, _bring_up_to_date, ["query_only=ON"])
        with self._writer.held():
            pass

    def close(self) -> None:
        """Close it, once nobody uses it."""
        self._writer.close()
        self._reader.close()

    # ---- putting and sending ---------------------------------------------------------------------

    def put(self, given: Sequence[Given], now: int) -> range:
        """Write signals down, all of them or none: their ids. Raises OutboxError."""
        rows = _encode([(each.order, each.item, each.type, each.body.decode()) for each in given])
        while True:
            try:
                return self._insert(rows.decode(), len(given), now)
            except OutboxFull:
                # What was sent is kept for people to look up, as long as there is room for it.
                if not self.prune(before=_ALWAYS):
                    raise

    def _insert(self, rows: str, count: int, now: int) -> range:
        with self._writing() as connection:
            last = connection.execute(_INSERT, (now, rows)).lastrowid or 0
        return range(last - count + 1, last + 1)

    def waiting(self, *, after: int, limit: int, order: str | None = None) -> list[Waiting]:
        """The next signals to be sent, all or those of one order, in the order in which they were put."""
        rows = self._read(
            "SELECT id, \"order\", body FROM signals WHERE state = 'waiting' AND id > ?"
            ' AND "order" = coalesce(?, "order") ORDER BY id LIMIT ?',
            after,
            order,
            limit,
        )
        return [Waiting(*row) for row in rows]

    def still_waiting(self, ids: Sequence[int]) -> set[int]:
        """Those of the signals that nobody discarded meanwhile."""
        rows = self._read(
            "SELECT id FROM signals WHERE state = 'waiting'"
            " AND id IN (SELECT value FROM json_each(?))",
            msgspec.json.encode(ids).decode(),
        )
        return {row[0] for row in rows}

    def settle(self, ids: Sequence[int], state: State, now: int, info: str = "") -> None:
        """Note what became of signals that waited."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE signals SET state = ?, settled = ?, info = ? WHERE state = 'waiting'"
                " AND id IN (SELECT value FROM json_each(?))",
                (state, now, info, msgspec.json.encode(ids).decode()),
            )

    def prune(self, before: int) -> int:
        """Remove signals that were sent or discarded before an instant, not all at once: how many."""
        with self._writing() as connection:
            return connection.execute(
                "DELETE FROM signals WHERE id IN (SELECT id FROM signals"
                " WHERE state IN ('sent', 'discarded') AND settled < ? LIMIT ?)",
                (before, PRUNED_AT_ONCE),
            ).rowcount

    # ---- what people do --------------------------------------------------------------------------

    def entries(
        self, *, states: Sequence[State] = STATES, after: int = 0, limit: int = LISTED_MAX
    ) -> list[Entry]:
        """Signals in these states, in the order in which they were put."""
        rows = self._read(
            f"SELECT {_SHOWN} FROM signals"
            " WHERE state IN (SELECT value FROM json_each(?)) AND id > ? ORDER BY id LIMIT ?",
            msgspec.json.encode(states).decode(),
            after,
            limit,
        )
        return [_entry(row) for row in rows]

    def entry(self, id: int) -> Entry | None:
        """One signal, None if there is none of that id, or no more."""
        rows = self._read(f"SELECT {_SHOWN} FROM signals WHERE id = ?", id)
        return _entry(rows[0]) if rows else None

    def retry(self, ids: Sequence[int] | None, now: int) -> int:
        """Let refused signals, all without ids, wait again, behind those that do: how many."""
        chosen = "state = 'refused' AND (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids)))"
        named = {"ids": None if ids is None else msgspec.json.encode(ids).decode(), "now": now}
        with self._writing() as connection:
            # With new ids: whoever sends reads them in order, and has passed the old ones.
            connection.execute(
                'INSERT INTO signals ("order", item, type, body, put)'
                f' SELECT "order", item, type, body, :now FROM signals WHERE {chosen} ORDER BY id',
                named,
            )
            return connection.execute(f"DELETE FROM signals WHERE {chosen}", named).rowcount

    def discard(self, ids: Sequence[int] | None, now: int) -> int:
        """Give up signals that wait or were refused, all refused ones without ids: how many."""
        with self._writing() as connection:
            if ids is None:
                return connection.execute(
                    "UPDATE signals SET state = 'discarded', settled = ? WHERE state = 'refused'",
                    (now,),
                ).rowcount
            return connection.execute(
                "UPDATE signals SET state = 'discarded', settled = ?"
                " WHERE state IN ('waiting', 'refused')"
                " AND id IN (SELECT value FROM json_each(?))",
                (now, msgspec.json.encode(ids).decode()),
            ).rowcount

    def health(self) -> Health:
        """How it is doing."""
        ((waiting, oldest),) = self._read(
            "SELECT count(*), min(id) FROM signals WHERE state = 'waiting'"
        )
        ((refused,),) = self._read("SELECT count(*) FROM signals WHERE state = 'refused'")
        first = None if oldest is None else self.entry(oldest)
        return Health(
            waiting=waiting,
            refused=refused,
            oldest=None if first is None else first.put,
            paused=self.paused(),
            trouble=self.trouble(),
            file_bytes=self._size_bytes(),
        )

    def _size_bytes(self) -> int:
        try:
            return files.size_bytes(self.path)
        except OSError as error:
            raise OutboxUnusable(
                f"the outbox {self.path} cannot be looked at: {error.strerror}"
            ) from None

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._read("SELECT 1 FROM signals WHERE state = 'waiting' LIMIT 1")

    # ---- facts -----------------------------------------------------------------------------------

    def paused(self) -> str | None:
        """Why nothing is sent until somebody resumes it, None while signals are sent."""
        return self._fact("paused", str)

    def pause(self, info: str) -> None:
        """Send nothing any more, for this reason."""
        self._learn("paused", info)

    def resume(self) -> None:
        """Send again."""
        self._learn("paused", None)

    def hurries(self) -> int:
        """How often somebody wanted everything to be tried at once."""
        return self._fact("hurries", int) or 0

    def hurry(self) -> None:
        """Have everything that waits for another try be tried at once, by whoever sends."""
        self._learn("hurries", self.hurries() + 1)

    def trouble(self) -> Trouble | None:
        """Why sending fails, None if it does not."""
        return self._fact("trouble", Trouble)

    def note_trouble(self, trouble: Trouble | None) -> None:
        """Know why sending fails."""
        self._learn("trouble", trouble)

    def _fact(self, name: str, kind: type[T]) -> T | None:
        rows = self._read("SELECT value FROM facts WHERE name = ?", name)
        return msgspec.json.decode(rows[0][0], type=kind) if rows else None

    def _learn(self, name: str, value: Any) -> None:
        with self._writing() as connection:
            if value is None:
                connection.execute("DELETE FROM facts WHERE name = ?", (name,))
            else:
                connection.execute(
                    "INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                    (name, msgspec.json.encode(value).decode()),
                )

    # ---- the connection --------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._writer.held() as connection:
            files.begin_writing(connection)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A full disk has ended the transaction already.
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def _read(self, statement: str, *values: Any) -> list[Any]:
        with self._reader.held() as connection:
            return connection.execute(statement, values).fetchall()


def _create(path: Path) -> None:
    """The file of an outbox, if it is not there yet: for its owner only, as it names customers' orders."""
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise OutboxUnusable(f"the outbox {path} cannot be opened: {error.strerror}") from None


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    if _kind(connection) != (APPLICATION, VERSION):
        files.begin(connection)
        try:
            _make(connection, path)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise


def _make(connection: sqlite3.Connection, path: Path) -> None:
    application, version = _kind(connection)
    if (application, version) == (APPLICATION, VERSION):
        return  # Another program was faster.
    if application == APPLICATION:
        raise OutboxUnusable(f"the outbox {path} was written by a newer version: install that one")
    if version or connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
        raise OutboxUnusable(f"{path} is a database, but no outbox: choose another file")
    for statement in _TABLES.split(";"):
        connection.execute(statement)


def _kind(connection: sqlite3.Connection) -> tuple[int, int]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application, version


def _entry(row: Any) -> Entry:
    return Entry(*[*row[:8], msgspec.Raw(row[8])])
