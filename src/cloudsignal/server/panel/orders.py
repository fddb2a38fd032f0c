"""The pages of orders: those that are registered for an owner, and one with its items."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from litestar import Response, get
from msgspec import Struct

from cloudsignal.server.panel.access import IN_SCOPE, seen_by
from cloudsignal.server.panel.lists import Column, Listing, Read, listed
from cloudsignal.server.panel.pages import Asked, scope
from cloudsignal.server.panel.places import item_path, order_path
from cloudsignal.server.panel.sight import UNHEARD, OrderItem, see_order
from cloudsignal.server.panel.standing import columns, counted, sees_partners
from cloudsignal.server.rules import Unfit
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.orders import RegisteredOrder
from cloudsignal.server.store.owned_orders import OrderStanding
from cloudsignal.server.store.store import Store


class ListedOrder(Struct, frozen=True):
    """An order of a list: what is registered of it, and how many of its items are in which state."""

    told: RegisteredOrder
    states: dict[str, int]


ORDERS: Final = Listing[ListedOrder](
    path="/orders",
    title="Orders",
    fields=("owner",),
    columns=(
        Column("Order", lambda each: each.told.order, to=lambda each: order_path(each.told.order)),
        Column("Reference", lambda each: each.told.reference),
        Column("Print partner", lambda each: each.told.partner_name, seen_in=sees_partners),
        Column("Items", lambda each: counted(each.states)),
        Column("Due, UTC", lambda each: each.told.due, "instant"),
        Column("Registered, UTC", lambda each: each.told.registered, "instant"),
    ),
    turn="before",
    place=lambda each: each.told.order,
    saves=True,
)

ORDER_ITEMS: Final = Listing[OrderItem](
    path="/order",
    title="Items",
    fields=("order",),
    columns=(
        Column("Item", lambda each: each.item, to=lambda each: item_path(each.order, each.item)),
        Column("Reference", lambda each: each.reference),
        *columns(lambda each: each.stored),
    ),
    turn="after",
    place=lambda each: each.item,
)


@get("/orders", guards=[seen_by("reader", "owner")])
async def list_orders(request: Asked, owner: str = "", before: str = "") -> Response[Any]:
    """The orders that are registered for an owner, the last registered first."""
    store: Store = request.app.state.store
    own = scope(request).owner
    owners = [own] if own else [each.name for each in await asyncio.to_thread(store.orders.owners)]
    if own and owner not in ("", own):
        raise NotFound(f"there are no orders of {owner!r}")
    whose = owner or (owners[0] if len(owners) == 1 else "")
    read = partial(_orders, store, whose, owners)
    return await listed(request, ORDERS, read, "orders.html", at=before, whose=whose, owners=owners)


def _orders(
    store: Store, owner: str, owners: Sequence[str], *, before: str | None = None, limit: int
) -> list[ListedOrder]:
    if owner and owner not in owners:
        raise Unfit(f"There is no owner called {owner!r}.")
    found = store.orders.newest(owner, before=before, limit=limit)
    standing = store.owned.standing([each.order for each in found])
    return [ListedOrder(each, _states(standing[each.order])) for each in found]


def _states(standing: OrderStanding) -> dict[str, int]:
    unheard = {UNHEARD: standing.unheard} if standing.unheard else {}
    return standing.states | unheard


@get("/order", guards=[IN_SCOPE])
async def show_order(request: Asked, order: str = "", after: str = "") -> Response[Any]:
    """An order: what is registered of it, and its items in the order of their ids."""
    seen = await asyncio.to_thread(see_order, request.app.state.store, order, scope(request))
    told: dict[str, Any] = {"order": seen, "states": counted(seen.states), "scope": scope(request)}
    return await listed(request, ORDER_ITEMS, _beyond(seen.items), "order.html", at=after, **told)


def _beyond(items: list[OrderItem]) -> Read[OrderItem]:
    """Reads items that are there already, in the order of their ids."""

    def read(*, after: str = "", limit: int) -> list[OrderItem]:
        return [each for each in items if each.item > after][:limit]

    return read


ROUTES: Final = [list_orders, show_order]
