"""What a store may stand on: the scheme of its URL says which."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from cloudsignal.server.store.errors import StoreUnavailable, StoreUnusable
from cloudsignal.server.store.log import Writer

if TYPE_CHECKING:
    from sqlalchemy import Connection as Transaction

_MODULES: Final = {
    "sqlite": "cloudsignal.server.store.sqlite",
    "postgresql": "cloudsignal.server.store.postgresql",
    "postgres": "cloudsignal.server.store.postgresql",
}
_ADVICE: Final = "write sqlite:///PATH or postgresql://HOST/DATABASE"


How = Literal["reads", "writes", "writes beside"]
"""A consistent view; or alone among writers; or beside other writers, for what these leave alone."""


class Listening(Protocol):
    """Hears of commits, those of this process as well."""

    def fileno(self) -> int:
        """What becomes readable when there is something to hear."""

    def heard(self) -> bool:
        """Whether there were commits since last asked. Raises StoreUnavailable once it is deaf."""

    def close(self) -> None:
        """Stop listening."""


class Backend(Protocol):
    """A kind of database, and one of that kind. Making it connects to nothing.

    A module of ``_MODULES`` has a class of this name, made with what follows ``://`` in the URL.
    It imports no SQLAlchemy by itself: the writer's process has no need of it.
    """

    dialect: str
    """What SQLAlchemy calls it."""
    shown: str
    """The URL as it may be shown to anyone: without a password."""
    nodes: bool
    """Whether several processes may serve it, on one machine or many."""
    secret_path: Path | None
    """Where the secret lies unless a setting says so; None if it has to be set."""

    def make(self) -> None:
        """Make the database, if that is up to us and it is not there. Raises StoreUnusable."""

    def connect(self) -> Any:
        """A connection of the driver's, in its autocommit mode, for all but the log's own writer."""

    def create_tables(self, connection: "Transaction") -> None:
        """Make the tables of an empty database."""

    def begin(self, connection: "Transaction", how: "How") -> None:
        """Begin a transaction: see ``How``."""

    def now(self, connection: "Transaction") -> int:
        """The time that all nodes agree on, in microseconds since 1970."""

    def writer(self) -> Writer:
        """The log's own writer."""

    def listen(self) -> "Listening":
        """Begin to hear of other nodes' commits. Raises StoreUnavailable.

        Never asked of a backend that has no ``nodes``.
        """

    def unavailable(self, cause: BaseException | None) -> StoreUnavailable | None:
        """What a driver's error says in a sentence, unless it is a mistake of ours."""

    def number_on(self, connection: "Transaction", table: str) -> None:
        """Number the next row of a table beyond those that were written with numbers of their own."""

    def drop_parts(self, until: int) -> None:
        """Drop those parts of the log that can go as a whole: none of them reaches beyond a position.

        May be called again after it was interrupted. Raises StoreUnavailable.
        """

    def check(self) -> None:
        """Make sure that what is open is still the store. Raises StoreUnavailable."""


def backend_of(url: str) -> Backend:
    """What a database URL names. Raises StoreUnusable with a sentence when it names nothing."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        # What has an @ may hold a password.
        given = "this" if "@" in url else repr(url)
        raise StoreUnusable(f"{given} is no database URL: {_ADVICE}")
    if scheme not in _MODULES:
        raise StoreUnusable(f"{scheme} is not supported: {_ADVICE}")
    made: Backend = importlib.import_module(_MODULES[scheme]).Backend(rest)
    return made
