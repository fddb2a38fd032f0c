"""A store on PostgreSQL 15 or newer: for any number of processes on any number of machines."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cloudsignal.server.store.errors import StoreUnavailable, StoreUnusable

try:
    from cloudsignal.server.store.postgresql import driver
except ModuleNotFoundError as error:
    raise StoreUnusable(
        f"{error.name} is missing: pip install 'cloudsignal[server,postgresql]' brings it"
    ) from None
from cloudsignal.server.store.postgresql import partitions
from cloudsignal.server.store.postgresql.listening import Listening
from cloudsignal.server.store.postgresql.writer import BEGIN, TURN, Writer

if TYPE_CHECKING:
    from psycopg import Connection
    from sqlalchemy import Connection as Transaction

    from cloudsignal.server.store.backends import How

TURN_S: Final = 10
"""How long a command may do nothing in its turn: the nodes wait for it."""
_WRITING: Final = f"{BEGIN}; SET LOCAL idle_in_transaction_session_timeout = '{TURN_S}s'"
BEGINNINGS: Final["dict[How, str]"] = {
    "reads": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "writes": f"{_WRITING}; {TURN}",
    "writes beside": _WRITING,
}


class Backend:
    """The database that a ``postgresql://…`` URL names, as libpq understands it."""

    dialect = "postgresql+psycopg://"
    nodes = True

    def __init__(self, rest: str) -> None:
        self._parameters = driver.parameters(f"postgresql://{rest}")
        self.shown = driver.shown(self._parameters)
        self.secret_path: Path | None = None

    def make(self) -> None:
        """Nothing: who runs the server makes its databases."""

    def create_tables(self, connection: "Transaction") -> None:
        from cloudsignal.server.store.schema import metadata, signals

        signals.dialect_options["postgresql"]["partition_by"] = "RANGE (position)"
        metadata.create_all(connection)
        for statement in partitions.make(0):
            connection.exec_driver_sql(statement)

    def connect(self) -> "Connection[Any]":
        return driver.connect(self._parameters)

    def begin(self, connection: "Transaction", how: "How") -> None:
        # Through SQLAlchemy, which notices a connection that is lost and opens another.
        connection.exec_driver_sql(BEGINNINGS[how])

    def now(self, connection: "Transaction") -> int:
        # That of its clock, whatever those of the nodes say.
        asked = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        return int(connection.exec_driver_sql(asked).scalar_one())

    def writer(self) -> Writer:
        return Writer(self.connect)

    def listen(self) -> Listening:
        with driver.translated():
            return Listening(self.connect())

    def unavailable(self, cause: BaseException | None) -> StoreUnavailable | None:
        return driver.unavailable(cause)

    def number_on(self, connection: "Transaction", table: str) -> None:
        connection.exec_driver_sql(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"
        )

    def drop_parts(self, until: int) -> None:
        with driver.translated(), closing(self.connect()) as connection:
            partitions.drop(connection, until)

    def check(self) -> None:
        """Nothing: whatever answers is the store."""
