"""Filters of lists that people save for themselves, each under a name."""

from typing import Final

from msgspec import Struct
from sqlalchemy import Connection, delete, func, insert, select, update

from cloudsignal.server.store.database import Database
from cloudsignal.server.store.errors import NotFound, TooMany
from cloudsignal.server.store.schema import filters
from cloudsignal.server.store.users import one

FILTERS_MAX: Final = 50
"""How many one user may have, of all lists."""


class Filter(Struct, frozen=True):
    """A filter of a list, as its user calls it; ``query`` is what stands in the list's address."""

    id: int
    name: str
    query: str


class Filters:
    """The verbs of saved filters. Every one may raise StoreUnavailable.

    They are their user's own, as bookmarks are: nobody else sees them, and no change of them is noted.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, user: int, list_name: str) -> list[Filter]:
        """What somebody saved of a list, in order of name."""
        chosen = select(filters.c.id, filters.c.name, filters.c.query).where(
            filters.c.user == user, filters.c.list == list_name
        )
        with self._database.reading() as connection:
            rows = connection.execute(chosen.order_by(filters.c.name))
            return [Filter(**row._mapping) for row in rows]

    def save(self, user: int, list_name: str, name: str, query: str) -> None:
        """Save a filter of a list, in place of one of that name. Raises TooMany and NotFound."""
        same = filters.c.user == user, filters.c.list == list_name, filters.c.name == name
        with self._database.writing() as connection:
            one(connection, user)
            changed = connection.execute(update(filters).where(*same).values(query=query))
            if not changed.rowcount:
                _check_room(connection, user)
                values = {"user": user, "list": list_name, "name": name, "query": query}
                connection.execute(insert(filters).values(values))

    def remove(self, user: int, number: int) -> None:
        """Forget a filter. Raises NotFound when it is not there, or another user's."""
        its = filters.c.id == number, filters.c.user == user
        with self._database.writing() as connection:
            if not connection.execute(delete(filters).where(*its)).rowcount:
                raise NotFound(f"there is no filter {number}")


def _check_room(connection: Connection, user: int) -> None:
    counted = select(func.count()).select_from(filters).where(filters.c.user == user)
    if (connection.scalar(counted) or 0) >= FILTERS_MAX:
        raise TooMany(
            f"You have {FILTERS_MAX} filters, which is as many as there may be: remove one."
        )
