"""What an owner sees: its orders and, if it gets them, those that nobody registered, and how their items stand.

Instants are microseconds since 1970.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, Final

from msgspec import Struct, structs
from sqlalchemy import Connection, exists, func, select

from cloudsignal.server.store.database import Database
from cloudsignal.server.store.orders import Owner
from cloudsignal.server.store.reading import StoredItem, stored_order
from cloudsignal.server.store.schema import items, order_items, orders, signals, states

OWNED_MAX: Final = 1000
"""How many orders an owner is shown at once: those that came last."""
ITEMS_LOOKED_AT_MAX: Final = 10_000
"""Among how many of the newest items orders are looked for that nobody registered."""


class OwnedOrder(Struct, frozen=True):
    """An order as its owner sees it.

    ``placed`` is when it was registered, else when its first signal arrived. ``states`` has how many items are in
    which state; ``unheard`` is how many more are registered of which no signal has come.
    """

    order: str
    reference: str
    placed: int
    is_registered: bool
    states: dict[str, int]
    unheard: int


class OrderStanding(Struct, frozen=True):
    """How the items of an order stand: how many are in which state.

    ``unheard`` is how many more are registered of which no signal has come.
    """

    states: dict[str, int]
    unheard: int


class FoundOrder(Struct, frozen=True):
    """One order with its items: those that were heard of, and what each registered one is called by its owner."""

    order: OwnedOrder
    items: list[StoredItem]
    references: dict[str, str]


class OwnedOrders:
    """The verbs by which owners look. Every one may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def orders(self, owner: Owner, *, limit: int = OWNED_MAX) -> list[OwnedOrder]:
        """An owner's orders, the last placed first."""
        with self._database.reading() as connection:
            found = _registered(connection, orders.c.owner == owner.id, limit)
            if owner.unregistered:
                found += _unregistered(connection, _newest_unregistered(connection, limit))
            found.sort(key=lambda each: (each.placed, each.order), reverse=True)
            return _with_states(connection, found[:limit])

    def standing(self, ids: Collection[str]) -> dict[str, OrderStanding]:
        """How the items of orders stand, for each of these."""
        with self._database.reading() as connection:
            return _standing(connection, ids)

    def find(self, owner: Owner, reference: str) -> FoundOrder | None:
        """The order that its owner calls so, the last registered of several; else the one with that id."""
        with self._database.reading() as connection:
            found = _find(connection, owner, reference)
            if found is None:
                return None
            [order] = _with_states(connection, [found])
            stored = stored_order(connection, order.order)
            named = select(order_items.c.item, order_items.c.reference)
            rows = connection.execute(named.where(order_items.c.order == order.order))
            references = {row.item: row.reference for row in rows}
            return FoundOrder(order, stored.items if stored else [], references)


def _find(connection: Connection, owner: Owner, reference: str) -> OwnedOrder | None:
    its_own = orders.c.owner == owner.id
    found = _registered(connection, its_own & (orders.c.reference == reference), 1)
    found = found or _registered(connection, its_own & (orders.c.order == reference), 1)
    if not found and owner.unregistered and not _is_registered(connection, reference):
        found = _unregistered(connection, [reference])
    return found[0] if found else None


def _registered(connection: Connection, condition: Any, limit: int) -> list[OwnedOrder]:
    """Registered orders, the last registered first; how their items stand is not yet in them."""
    chosen = select(orders.c.order, orders.c.reference, orders.c.registered).where(condition)
    newest = chosen.order_by(orders.c.registered.desc(), orders.c.order.desc()).limit(limit)
    return [
        OwnedOrder(row.order, row.reference, row.registered, True, {}, 0)
        for row in connection.execute(newest)
    ]


def _is_registered(connection: Connection, order: str) -> bool:
    return connection.scalar(select(orders.c.order).where(orders.c.order == order)) is not None


def _newest_unregistered(connection: Connection, limit: int) -> Sequence[str]:
    """The ids of orders that nobody registered, the last reported first."""
    # Of so many items only: where nearly all orders are registered, looking on would read every item.
    newest = select(items.c.id, items.c.order).order_by(items.c.id.desc())
    looked_at = newest.limit(ITEMS_LOOKED_AT_MAX).subquery()
    unknown = ~exists().where(orders.c.order == looked_at.c.order)
    chosen = select(looked_at.c.order).where(unknown).group_by(looked_at.c.order)
    last = func.max(looked_at.c.id)
    return connection.scalars(chosen.order_by(last.desc()).limit(limit)).all()


def _unregistered(connection: Connection, ids: Collection[str]) -> list[OwnedOrder]:
    """Those of these orders of which a signal has come; how their items stand is not yet in them."""
    # An item is numbered by its first signal. Where that was pruned, the last one is what is known.
    first = func.min(func.coalesce(signals.c.received, states.c.updated)).label("first")
    heard = (
        select(items.c.order, first)
        .join(states, states.c.item == items.c.id)
        .outerjoin(signals, signals.c.position == items.c.id)
        .where(items.c.order.in_(ids))
        .group_by(items.c.order)
    )
    return [OwnedOrder(row.order, "", row.first, False, {}, 0) for row in connection.execute(heard)]


def _with_states(connection: Connection, found: list[OwnedOrder]) -> list[OwnedOrder]:
    """The same orders, with how their items stand."""
    standing = _standing(connection, [each.order for each in found])
    return [structs.replace(each, **structs.asdict(standing[each.order])) for each in found]


def _standing(connection: Connection, ids: Collection[str]) -> dict[str, OrderStanding]:
    counted = (
        select(items.c.order, states.c.state, func.count().label("number"))
        .join(states, states.c.item == items.c.id)
        .where(items.c.order.in_(ids))
        .group_by(items.c.order, states.c.state)
    )
    standing: dict[str, dict[str, int]] = defaultdict(dict)
    for row in connection.execute(counted):
        standing[row.order][row.state] = row.number
    unheard = _unheard(connection, ids)
    return {each: OrderStanding(standing.get(each, {}), unheard.get(each, 0)) for each in ids}


def _unheard(connection: Connection, ids: Collection[str]) -> dict[str, int]:
    """For orders, how many of their registered items no signal has come for."""
    same = (items.c.order == order_items.c.order) & (items.c.item == order_items.c.item)
    counted = (
        select(order_items.c.order, func.count().label("number"))
        .where(order_items.c.order.in_(ids), ~exists().where(same))
        .group_by(order_items.c.order)
    )
    return {row.order: row.number for row in connection.execute(counted)}
