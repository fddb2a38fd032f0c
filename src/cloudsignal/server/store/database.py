"""A database, opened: its transactions, and its schema brought up to date."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError, TimeoutError
from sqlalchemy.pool import QueuePool

from cloudsignal.server.store import facts
from cloudsignal.server.store.backends import Backend, How
from cloudsignal.server.store.errors import (
    AlreadyThere,
    StoreDamaged,
    StoreUnavailable,
    StoreUnusable,
)
from cloudsignal.server.store.schema import VERSION
from cloudsignal.server.store.settling import Settling

READERS_MAX: Final = 8
"""How many connections read at once."""
READER_WAIT_S: Final = 5.0
"""How long to wait for one of them."""


class Database:
    """Everything but the log's own writer goes through here. For any number of threads."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.engine = _engine(backend)
        self._settling = Settling(backend)

    def close(self) -> None:
        """Give every connection back."""
        self._settling.close()
        self.engine.dispose()

    def reading(self) -> AbstractContextManager[Connection]:
        """A consistent view of the store. Raises StoreUnavailable."""
        return self._transaction("reads")

    def writing(self, *, beside: bool = False) -> AbstractContextManager[Connection]:
        """A transaction, committed at the end. Raises StoreUnavailable.

        One that is ``beside`` others keeps nobody waiting, so it is for what the log's writers leave alone.
        """
        return self._transaction("writes beside" if beside else "writes")

    @contextmanager
    def _transaction(self, how: How) -> Iterator[Connection]:
        with (
            self._translated(),
            self.engine.connect().execution_options(begins=how) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def changing(self, revision: str, taken: str = "") -> Iterator[Connection]:
        """A transaction after which a revision, which is noted as a fact, has grown.

        Raises StoreUnavailable, and AlreadyThere, with the sentence ``taken``, when something has to be unique.
        """
        try:
            with self.writing() as connection:
                yield connection
                facts.grow(connection, revision)
        except IntegrityError:
            raise AlreadyThere(taken) from None

    def settle(self, position: int) -> None:
        """Return once what was read of the log, up to a position, cannot be lost any more.

        Raises StoreUnavailable.
        """
        self._settling.settle(position)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what SQLAlchemy or the driver say of a store that is away into StoreUnavailable."""
        try:
            yield
        except TimeoutError as error:
            raise StoreUnavailable(
                "the store cannot be used just now: all readers are busy"
            ) from error
        except Exception as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            if found := self.backend.unavailable(cause):
                raise found from error
            raise

    def bring_up_to_date(self) -> None:
        """Make the tables of a new store, migrate an older one, refuse a newer one.

        Raises StoreUnusable when the store was written by a newer program or is something else.
        """
        try:
            if self.version() != VERSION:
                self._migrate()
        except StoreDamaged as error:
            raise StoreUnusable(f"{self.backend.shown} is no cloudsignal store: {error}") from None

    def check_finished(self) -> None:
        """Make sure that this is no unfinished copy of another store. Raises StoreUnusable."""
        with self.reading() as connection:
            source = facts.read(connection, facts.COPYING)
        if source is not None:
            raise StoreUnusable(
                f"{self.backend.shown} is an unfinished copy of {source}: run cloudsignal store copy"
                " again until it says that everything is copied"
            )

    def version(self) -> str | None:
        """The version of its schema, None if it has none yet. Raises StoreUnavailable."""
        with self.reading() as connection:
            return _version(connection)

    def identity(self) -> str:
        """What tells this store and its copies from all others. Raises StoreUnavailable."""
        with self.writing() as connection:
            return facts.identity(connection)

    def _migrate(self) -> None:
        with self.writing() as connection:
            version = _version(connection)  # Another program may have been faster.
            if version is None:
                self._create(connection)
            elif version != VERSION:
                _migrate(connection, version)

    def _create(self, connection: Connection) -> None:
        if inspect(connection).get_table_names():
            raise StoreUnusable("this database holds something else than a cloudsignal store")
        self.backend.create_tables(connection)
        _stamp(connection)


def open_database(backend: Backend, *, for_copying: bool = False) -> Database:
    """Open a database that is there, and bring its schema up to date, or make it.

    Raises StoreUnusable with a sentence when that cannot be, or when it is an unfinished copy, unless it
    is opened for copying; StoreUnavailable when it cannot be just now.
    """
    database = Database(backend)
    try:
        database.bring_up_to_date()
        if not for_copying:
            database.check_finished()
    except BaseException:
        database.close()
        raise
    return database


def _engine(backend: Backend) -> Engine:
    engine = create_engine(
        backend.dialect,
        creator=backend.connect,
        poolclass=QueuePool,
        pool_size=READERS_MAX,
        max_overflow=0,
        pool_timeout=READER_WAIT_S,
    )

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        backend.begin(connection, connection.get_execution_options().get("begins", "reads"))

    return engine


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: Any = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)


def _stamp(connection: Connection) -> None:
    # What Alembic itself would write; making a new store needs none of the rest of it, and its
    # import takes longer than the whole start.
    connection.execute(
        text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    )
    connection.execute(
        text("INSERT INTO alembic_version (version_num) VALUES (:version)"), {"version": VERSION}
    )


def _migrate(connection: Connection, version: str) -> None:
    from cloudsignal.server.store import migrations

    if version not in migrations.known():
        raise StoreUnusable(
            f"the store has schema {version}, this program knows {VERSION} at most:"
            " it was written by a newer cloudsignal, so run that one or restore a backup"
        )
    migrations.upgrade(connection)


def inserted(connection: Connection, statement: Any) -> int:
    """Insert one row: the number that it was given."""
    key: Any = connection.execute(statement).inserted_primary_key
    return int(key[0])
