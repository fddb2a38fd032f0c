"""What somebody sees of orders and items: everything, or what is a print partner's or an owner's.

A print partner sees the items that are its own, and orders that have such or are registered for it. An owner sees
the orders that are registered for it, with all their items. Everything else is as if it were not there.
"""

from typing import Final

from msgspec import Struct

from cloudsignal.protocol.items import Item
from cloudsignal.server.panel.roles import Scope
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.orders import RegisteredOrder
from cloudsignal.server.store.reading import LoggedSignal, StoredItem, StoredOrder
from cloudsignal.server.store.store import Store
from cloudsignal.server.views import marked

UNHEARD: Final = "unheard"
"""Stands for the state of a registered item of which no signal has come."""


class OrderItem(Struct, frozen=True):
    """An item of an order: what its owner calls it, and how it stands if a signal has come."""

    order: str
    item: str
    reference: str
    stored: StoredItem | None


class SeenOrder(Struct, frozen=True):
    """An order; ``states`` has how many of its items are in which state.

    ``items`` are in the order of their ids. Of very many they are those that changed last: then it ``is_cut``.
    """

    order: str
    registered: RegisteredOrder | None
    states: dict[str, int]
    items: list[OrderItem]
    is_cut: bool


class SeenItem(Struct, frozen=True):
    """An item, what is registered of its order, and its signals, the newest first, each with what is odd about it."""

    order: str
    item: str
    reference: str
    registered: RegisteredOrder | None
    stored: StoredItem | None
    signals: list[tuple[LoggedSignal, list[str]]]

    @property
    def folded(self) -> Item:
        """All that is known of it."""
        return self.stored.folded if self.stored else Item()


def see_order(store: Store, order: str, scope: Scope) -> SeenOrder:
    """An order, or as much of it as is seen. Raises NotFound and StoreUnavailable."""
    registered = store.orders.order(order)
    stored = store.reading.order(order, partner=scope.partner)
    if not _is_seen(registered, scope, is_its_own=stored is not None):
        raise NotFound(f"there is no order {order!r}")
    found = stored or StoredOrder({}, [])
    is_cut = len(found.items) < sum(found.states.values())
    items = _items(order, found, registered, scope, is_cut=is_cut)
    unheard = sum(each.stored is None for each in items)
    states = found.states | ({UNHEARD: unheard} if unheard else {})
    return SeenOrder(order, registered, states, items, is_cut)


def see_item(store: Store, order: str, item: str, scope: Scope) -> SeenItem:
    """An item. Raises NotFound and StoreUnavailable."""
    stored, signals = store.reading.item_with_signals(order, item)
    registered = store.orders.order(order)
    references = registered.items if registered else {}
    is_its_own = stored is not None and scope.partner in (None, stored.partner_name)
    is_there = is_its_own if stored else item in references
    if not is_there or not _is_seen(registered, scope, is_its_own=is_its_own):
        raise NotFound(f"there is no item {item!r} of order {order!r}")
    told = list(marked(stored.folded, signals)) if stored else []
    # What another reported of an item before it was given to this one is that one's.
    seen = [each for each in told if scope.partner in (None, each[0].partner_name)]
    return SeenItem(order, item, references.get(item, ""), registered, stored, seen[::-1])


def _is_seen(registered: RegisteredOrder | None, scope: Scope, *, is_its_own: bool) -> bool:
    """Whether an order is there for those who see so much; ``is_its_own`` if they see items that were heard of."""
    if scope.owner is not None:
        return registered is not None and registered.owner_name == scope.owner
    if scope.partner is not None:
        return is_its_own or (registered is not None and registered.partner_name == scope.partner)
    return is_its_own or registered is not None


def _items(
    order: str,
    found: StoredOrder,
    registered: RegisteredOrder | None,
    scope: Scope,
    *,
    is_cut: bool,
) -> list[OrderItem]:
    references = registered.items if registered else {}
    heard = {each.item: each for each in found.items}
    names = set(heard)
    # Where not all are read, or not all are seen, an item that is not among them may have been heard of.
    if registered and not is_cut and scope.partner in (None, registered.partner_name):
        names |= set(references)
    return [
        OrderItem(order, each, references.get(each, ""), heard.get(each)) for each in sorted(names)
    ]
