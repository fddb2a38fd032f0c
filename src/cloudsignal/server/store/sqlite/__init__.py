"""A store in a file, on SQLite: for one machine, with one process that writes."""

import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from cloudsignal import files
from cloudsignal.server.store.errors import StoreUnavailable, StoreUnusable
from cloudsignal.server.store.sqlite import driver
from cloudsignal.server.store.sqlite.writer import Writer

if TYPE_CHECKING:
    from sqlalchemy import Connection as Transaction

    from cloudsignal.server.store.backends import How


class Backend:
    """The file that a ``sqlite:///PATH`` URL names."""

    dialect = "sqlite://"
    nodes = False

    def __init__(self, rest: str) -> None:
        path = rest.removeprefix("/")
        if not rest.startswith("/") or not path or path == ":memory:":
            raise StoreUnusable("a store is a file, or signals would be lost: write sqlite:///PATH")
        self.path = Path(path)
        self.shown = f"sqlite://{rest}"
        self.secret_path: Path | None = self.path.with_name(self.path.name + ".secret")

    def make(self) -> None:
        path = self.path
        if not path.parent.is_dir():
            raise StoreUnusable(
                f"there is no folder {path.parent}: make it, or choose another --database"
            )
        try:
            if not path.exists():
                path.touch(mode=0o600)  # For its owner only, as it names customers' orders.
        except OSError as error:
            raise StoreUnusable(f"{path} cannot be made: {error.strerror}") from None

    def connect(self) -> sqlite3.Connection:
        return driver.connect(self.path, cache_kib=driver.READER_CACHE_KIB)

    def create_tables(self, connection: "Transaction") -> None:
        from cloudsignal.server.store.schema import metadata

        metadata.create_all(connection)

    def begin(self, connection: "Transaction", how: "How") -> None:
        # The driver would begin a transaction only at the first write, and then fail at once where
        # it could have waited: whoever writes says so from the start.
        if how == "reads":
            connection.exec_driver_sql("BEGIN")
        else:  # There are no two writers of one file.
            own: Any = connection.connection.driver_connection
            files.begin(own)

    def now(self, connection: "Transaction") -> int:
        return time.time_ns() // 1_000

    def writer(self) -> Writer:
        return Writer(self.path)

    def listen(self) -> NoReturn:
        raise NotImplementedError("nobody else appends to a store in a file")

    def unavailable(self, cause: BaseException | None) -> StoreUnavailable | None:
        return driver.unavailable(cause)

    def number_on(self, connection: "Transaction", table: str) -> None:
        """Nothing: SQLite goes on from the largest number that is there."""

    def drop_parts(self, until: int) -> None:
        """Nothing: the log is in one part."""

    def check(self) -> None:
        # What is open could be read long after the file is gone.
        try:
            files.number_of(self.path)
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(str(error)) from None
