"""What owners are answered, with the names of CloudCore 1.0: strings throughout, empty where nothing is known."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from cloudsignal.protocol import datetimes
from cloudsignal.protocol.items import Item
from cloudsignal.server.cloudcore.states import history, order_state
from cloudsignal.server.store.owned_orders import FoundOrder, OwnedOrder

PARCELS_SHOWN_MAX: Final = 10
"""How many parcels of an item are told: the last ones."""


class ListedOrder(Struct, frozen=True):
    """An order in the list of orders."""

    reference: str
    order_date: str
    state: str
    state_code: str


class ItemInfo(Struct, frozen=True, kw_only=True):
    """An item of an order. Of several parcels the numbers stand side by side, the first first."""

    reference: str
    name: str = ""
    count: str = ""
    shipping_option: str
    tracking: str
    state_code: str
    options: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


class OrderInfo(Struct, frozen=True, kw_only=True):
    """One order with its items."""

    reference: str
    state: str
    state_code: str
    order_date: str
    email: str = ""
    addresses: list[str] = field(default_factory=list)
    items: list[ItemInfo]


class LoggedState(Struct, frozen=True):
    """A state that an order went through, and since when."""

    reference: str
    create_date: str
    state: str


def listed(order: OwnedOrder) -> ListedOrder:
    """An order in a list."""
    state = order_state(order.states, order.unheard)
    return ListedOrder(_reference(order), _date(order.placed), state.number, state.code)


def info(found: FoundOrder) -> OrderInfo:
    """One order with its items, in the order of their ids."""
    order = found.order
    state = order_state(order.states, order.unheard)
    # An item of which no signal has come is one that is folded from none.
    items = dict.fromkeys(found.references, Item()) | {
        each.item: each.folded for each in found.items
    }
    told = [_item(found.references.get(name) or name, items[name]) for name in sorted(items)]
    return OrderInfo(
        reference=_reference(order),
        state=state.number,
        state_code=state.code,
        order_date=_date(order.placed),
        items=told,
    )


def log(found: FoundOrder) -> list[LoggedState]:
    """The states that an order went through."""
    order = found.order
    passed = history([each.folded for each in found.items], order.states, order.unheard)
    (_, first), *others = passed
    begins = []
    # One that nobody registered, or only after its first signal, begins with that.
    if not others or (order.is_registered and order.placed < (others[0][0] or 0)):
        begins = [(order.placed, first)]
    return [
        LoggedState(_reference(order), _date(when), state.number)
        for when, state in [*begins, *others]
        if when is not None
    ]


def _item(reference: str, item: Item) -> ItemInfo:
    parcels = item.parcels[-PARCELS_SHOWN_MAX:]
    return ItemInfo(
        reference=reference,
        shipping_option=_side_by_side(each.shipping_option for each in parcels),
        tracking=_side_by_side(each.tracking for each in parcels),
        state_code=f"item_state_{item.state}",
    )


def _side_by_side(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


def _reference(order: OwnedOrder) -> str:
    """What the owner calls the order; its id where that is nothing."""
    return order.reference or order.order


def _date(instant: int) -> str:
    """An instant as CloudCore writes it: to the second, without a zone. Here that is UTC."""
    return datetimes.write(instant)[:19].replace("T", " ")
