"""Items that are neither shipped nor canceled, by when they are due and by how long they have waited.

They are found by what they were counted as (``rollups.py``): what came since is not known here yet. Test items are
not among them. Registered items of which no signal has come are among those that are due. Instants are microseconds
since 1970.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Select, Subquery, select, text, tuple_

from cloudsignal.protocol.items import Item
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.log import decode_item
from cloudsignal.server.store.names import number_of
from cloudsignal.server.store.orders import ITEMS_MAX
from cloudsignal.server.store.schema import (
    DUE,
    OPEN,
    counted_items,
    counted_orders,
    items,
    order_items,
    orders,
    partners,
    states,
)

UNHEARD: Final = 2**53 - 1
"""Stands for the number of an item of which no signal has come: no item has it."""


class Place(NamedTuple):
    """A place in a list of items: an instant, and the item among those of the same instant.

    First come those that were heard of, by their numbers; then the others, by their ids.
    """

    at: int
    number: int = 0
    order: str = ""
    item: str = ""


class OpenItem(Struct, frozen=True):
    """An open item: when it is due, if it is, and since when nothing else was heard of it.

    ``folded`` is how it stands now: it may be open no more. Of an item of which no signal has come, the ``number`` is
    ``UNHEARD`` and ``since`` is when its order was registered; its print partner may not be known.
    """

    number: int
    order: str
    item: str
    partner_name: str | None
    since: int
    due: int | None
    folded: Item

    @property
    def is_unheard(self) -> bool:
        """Whether it is registered, and no signal has come of it."""
        return self.number == UNHEARD

    def place(self, at: int) -> Place:
        """Its place in a list where it stands at an instant."""
        ids = (self.order, self.item) if self.is_unheard else ("", "")
        return Place(at, self.number, *ids)


class OpenItems:
    """The verbs of open items. Every one may raise StoreUnavailable.

    With the name of a ``partner`` it is that print partner's items.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def due_from(self, place: Place, *, partner: str | None = None, limit: int) -> list[OpenItem]:
        """Items that are due beyond a place, the next first."""
        heard = _DUE.where(tuple_(*_HEARD_AT) > place[:2])
        expecting = _EXPECTING.where(tuple_(*_EXPECTING_AT) >= (place.at, place.order))
        found = self._due(heard, expecting, partner, limit, backwards=False)
        return sorted((each for each in found if _due_place(each) > place), key=_due_place)[:limit]

    def due_before(self, place: Place, *, partner: str | None = None, limit: int) -> list[OpenItem]:
        """Items that were due before a place, the last first."""
        heard = _DUE.where(tuple_(*_HEARD_AT) < place[:2])
        expecting = _EXPECTING.where(tuple_(*_EXPECTING_AT) <= (place.at, place.order))
        found = self._due(heard, expecting, partner, limit, backwards=True)
        earlier = (each for each in found if _due_place(each) < place)
        return sorted(earlier, key=_due_place, reverse=True)[:limit]

    def waiting(self, state: str, place: Place, *, partner: str, limit: int) -> list[OpenItem]:
        """Items in a state beyond a place, those first of which nothing was heard for the longest time."""
        here = tuple_(counted_items.c.since, counted_items.c.item)
        chosen = _OPEN.where(counted_items.c.state == state, here > place[:2])
        with self._database.reading() as connection:
            its = chosen.where(counted_items.c.partner == number_of(connection, partners, partner))
            return _heard(connection, its, "since", limit)

    def _due(
        self,
        heard: Select[Any],
        expecting: Select[Any],
        partner: str | None,
        limit: int,
        *,
        backwards: bool,
    ) -> list[OpenItem]:
        """The first of both kinds: items that were heard of, and those of orders that were not."""
        with self._database.reading() as connection:
            if partner is not None:
                number = number_of(connection, partners, partner)
                heard = heard.where(counted_items.c.partner == number)
                expecting = expecting.where(counted_orders.c.partner == number)
            # Each order has such an item, but the one at the place itself, where those before it count as well.
            few = _in_order(expecting, _EXPECTING_AT, backwards).limit(limit + 1)
            unheard, its_place = _unheard(few)
            unheard = _in_order(unheard, its_place, backwards).limit(limit + ITEMS_MAX)
            return [
                *_heard(connection, heard, "due", limit, backwards=backwards),
                *(_unheard_item(row) for row in connection.execute(unheard)),
            ]


def _heard(
    connection: Connection, chosen: Select[Any], at: str, limit: int, *, backwards: bool = False
) -> list[OpenItem]:
    """So many of the counted items that are chosen, in the order of their places."""

    def in_order(chosen: Select[Any], columns: Any) -> Select[Any]:
        return _in_order(chosen, (columns[at], columns.item), backwards)

    # First so many by the index, or all that are chosen may be joined and then put in order.
    first = in_order(chosen, counted_items.c).limit(limit).subquery()
    told = in_order(_told(first), first.c)
    return [_open_item(row) for row in connection.execute(told)]


def _in_order(
    chosen: Select[Any], place: Iterable[ColumnElement[Any]], backwards: bool
) -> Select[Any]:
    return chosen.order_by(*(each.desc() if backwards else each for each in place))


def _told(first: Subquery) -> Select[Any]:
    """What there is to tell of counted items."""
    its = first.c.item.label("number"), first.c.since, first.c.due
    whose = partners.c.name.label("partner_name")
    return (
        select(*its, items.c.order, items.c.item, whose, states.c.summary)
        .join(items, items.c.id == first.c.item)
        .join(states, states.c.item == first.c.item)
        .join(partners, partners.c.id == first.c.partner)
    )


_COUNTED: Final = select(
    counted_items.c.item, counted_items.c.partner, counted_items.c.since, counted_items.c.due
)
# As the indexes have it, word for word.
_OPEN: Final = _COUNTED.where(text(f"counted_items.{OPEN}"))
_DUE: Final = _COUNTED.where(text(f"counted_items.{DUE}"), text(f"counted_items.{OPEN}"))
_HEARD_AT: Final = counted_items.c.due, counted_items.c.item
# Orders that have items which no signal has come of.
_EXPECTING: Final = select(counted_orders).where(text(f"counted_orders.{DUE}"))
_EXPECTING_AT: Final = counted_orders.c.due, counted_orders.c.order


def _unheard(expecting: Select[Any]) -> tuple[Select[Any], tuple[ColumnElement[Any], ...]]:
    """The items of orders that no signal has come of, not even since these were counted; and what orders them."""
    order = expecting.subquery()
    heard = (items.c.order == order_items.c.order) & (items.c.item == order_items.c.item)
    its_place = order.c.due, order_items.c.order, order_items.c.item
    chosen = (
        select(*its_place, partners.c.name.label("partner_name"), orders.c.registered)
        .select_from(order)
        .join(order_items, order_items.c.order == order.c.order)
        .join(orders, orders.c.order == order.c.order)
        .outerjoin(partners, partners.c.id == order.c.partner)
        .outerjoin(items, heard)
        .where(items.c.id.is_(None))
    )
    return chosen, its_place


def _due_place(item: OpenItem) -> Place:
    return item.place(item.due or 0)


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


def _unheard_item(row: Any) -> OpenItem:
    return OpenItem(UNHEARD, row.order, row.item, row.partner_name, row.registered, row.due, Item())
