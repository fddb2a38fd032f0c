"""Connections to the store, and its schema brought up to date."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DatabaseError, TimeoutError
from sqlalchemy.pool import QueuePool

from cloudsignal.server.store import driver
from cloudsignal.server.store.errors import StoreUnavailable, StoreUnusable
from cloudsignal.server.store.schema import VERSION, metadata

READERS_MAX: Final = 8
"""How many connections read at once."""
READER_WAIT_S: Final = 5.0
"""How long to wait for one of them."""


def create(path: Path) -> Engine:
    """An engine for everything but the log's own writer."""
    engine = create_engine(
        "sqlite://",
        creator=lambda: driver.connect(path, cache_kib=driver.READER_CACHE_KIB),
        poolclass=QueuePool,
        pool_size=READERS_MAX,
        max_overflow=0,
        pool_timeout=READER_WAIT_S,
    )

    # The driver would begin a transaction only at the first write, and then fail at once where it
    # could have waited: whoever writes says so from the start.
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A consistent view of the store. Raises StoreUnavailable."""
    with translated(), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction, committed at the end. Raises StoreUnavailable."""
    with (
        translated(),
        engine.connect().execution_options(writes=True) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def translated() -> Iterator[None]:
    """Turn what SQLAlchemy or the driver say of a store that is away into StoreUnavailable."""
    try:
        with driver.translated():
            yield
    except DatabaseError as error:
        if found := driver.unavailable(error.orig):
            raise found from error
        raise
    except TimeoutError as error:
        raise StoreUnavailable("the store cannot be used just now: all readers are busy") from error


def bring_up_to_date(engine: Engine) -> None:
    """Make the tables of a new store, migrate an older one, refuse a newer one.

    Raises StoreUnusable when the store was written by a newer program or is something else.
    """
    with writing(engine) as connection:
        version = _version(connection)
        if version is None:
            if inspect(connection).get_table_names():
                raise StoreUnusable("this database holds something else than a cloudsignal store")
            metadata.create_all(connection)
            _stamp(connection)
        elif version != VERSION:
            _migrate(connection, version)


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
