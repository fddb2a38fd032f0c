"""Items that are neither shipped nor canceled, by when they are due and by how long they have waited.

They are found by what they were counted as (``rollups.py``): what came since is not known here yet. Test items are
not among them. Instants are microseconds since 1970.
"""

from typing import Any, Final, NamedTuple

from msgspec import Struct
from sqlalchemy import Connection, Select, select, text, tuple_

from cloudsignal.protocol.items import Item
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.log import decode_item
from cloudsignal.server.store.schema import DUE, OPEN, counted_items, items, partners, states

NOBODY: Final = 0
"""No print partner has this number."""


class Place(NamedTuple):
    """A place in a list of items: an instant, and the number of the item among those of the same instant."""

    at: int
    number: int = 0


class OpenItem(Struct, frozen=True):
    """An open item: when it is due, if it is, and since when nothing else was heard of it.

    ``folded`` is how it stands now: it may be open no more.
    """

    number: int
    order: str
    item: str
    partner_name: str
    since: int
    due: int | None
    folded: Item


class OpenItems:
    """The verbs of open items. Every one may raise StoreUnavailable.

    With the name of a ``partner`` it is that print partner's items.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def due_from(self, place: Place, *, partner: str | None = None, limit: int) -> list[OpenItem]:
        """Items that are due beyond a place, the next first."""
        here = tuple_(counted_items.c.due, counted_items.c.item)
        chosen = _DUE.where(here > place).order_by(counted_items.c.due, counted_items.c.item)
        return self._found(chosen, partner, limit)

    def due_before(self, place: Place, *, partner: str | None = None, limit: int) -> list[OpenItem]:
        """Items that were due before a place, the last first."""
        here = tuple_(counted_items.c.due, counted_items.c.item)
        backwards = counted_items.c.due.desc(), counted_items.c.item.desc()
        return self._found(_DUE.where(here < place).order_by(*backwards), partner, limit)

    def waiting(self, state: str, place: Place, *, partner: str, limit: int) -> list[OpenItem]:
        """Items in a state beyond a place, those first of which nothing was heard for the longest time."""
        here = tuple_(counted_items.c.since, counted_items.c.item)
        chosen = _OPEN.where(counted_items.c.state == state, here > place)
        in_order = chosen.order_by(counted_items.c.since, counted_items.c.item)
        return self._found(in_order, partner, limit)

    def _found(self, chosen: Select[Any], partner: str | None, limit: int) -> list[OpenItem]:
        with self._database.reading() as connection:
            if partner is not None:
                chosen = chosen.where(counted_items.c.partner == _number(connection, partner))
            return [_open_item(row) for row in connection.execute(chosen.limit(limit))]


_COUNTED: Final = (
    select(
        counted_items.c.item.label("number"),
        items.c.order,
        items.c.item,
        partners.c.name.label("partner_name"),
        counted_items.c.since,
        counted_items.c.due,
        states.c.summary,
    )
    .join(items, items.c.id == counted_items.c.item)
    .join(states, states.c.item == counted_items.c.item)
    .join(partners, partners.c.id == counted_items.c.partner)
)
# As the indexes have it, word for word.
_OPEN: Final = _COUNTED.where(text(f"counted_items.{OPEN}"))
_DUE: Final = _COUNTED.where(text(f"counted_items.{DUE}"), text(f"counted_items.{OPEN}"))


def _number(connection: Connection, name: str) -> int:
    return connection.scalar(select(partners.c.id).where(partners.c.name == name)) or NOBODY


def _open_item(row: Any) -> OpenItem:
    return OpenItem(
        row.number,
        row.order,
        row.item,
        row.partner_name,
        row.since,
        row.due,
        decode_item(row.summary),
    )
